"""Exported files: the same boxes as the network, by their own runtime, with and without us."""

import json
import pathlib
import re
import subprocess
import sys
import zipfile

import cv2
import jax
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.exports.conftest import NMS
from tests.support.leaves import random_leaves
from yolor_jax import export
from yolor_jax.errors import InputError
from yolor_jax.exports.files import open_exported
from yolor_jax.exports.predicting import make_predictor
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.spec import with_tasks
from yolor_jax.runs.exported import ExportedNetwork
from yolor_jax.runs.trained import Trained
from yolor_jax.weights.store import save_variables

FILES = ("plain.onnx", "nms.onnx", "nms.zip")
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "export.md"
WITHOUT = "import sys; sys.modules |= dict.fromkeys({}); "


def example(word):
    """The Python block of the page that has a word."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return next(block for block in blocks if word in block)


def assert_same(got, expected, pixels=1e-3, scores=1e-5):
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine.boxes_xyxy, theirs.boxes_xyxy, atol=pixels)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=scores)
        np.testing.assert_array_equal(mine.labels, theirs.labels)


@pytest.mark.parametrize("name", FILES)
def test_a_file_finds_what_the_network_finds(files, pictures, found, name):
    predictor = make_predictor(files[name], NMS, batch_size=3)
    assert_same(predictor([image for _, image in pictures]), found)
    assert predictor([]) == []


def test_a_file_says_what_it_is(files):
    about = files["nms.onnx"].metadata
    assert about["class_names"] == ["cat", "dog", "sheep"] and about["strides"] == [8, 16, 32]
    assert about["letterbox"]["border"] == 114 and about["licence"] == "CC0-1.0"
    assert about["nms"]["score_threshold"] == 0.4 and about["layout"] == "nchw"
    assert about["stamps"][-1]["libraries"]["onnx"] == onnx.__version__
    with zipfile.ZipFile(files["nms.zip"].path) as file:
        assert json.loads(file.read("metadata.json"))["batch"] == "dynamic"


@pytest.mark.parametrize("name", ["nms.zip", "bfloat16.zip"])
def test_float32_is_float32_on_every_device(files, name):
    """By default a GPU multiplies float32 as TF32, and a TPU as bfloat16."""
    with zipfile.ZipFile(files[name].path) as file:
        program = jax.export.deserialize(bytearray(file.read("network.bin"))).mlir_module()
    convolutions = [line for line in program.splitlines() if "stablehlo.convolution" in line]
    exact = ["HIGHEST" in line for line in convolutions]
    assert exact and (all(exact) if name == "nms.zip" else not any(exact))


def test_stablehlo_runs_where_this_package_is_not(files, network, pictures, tmp_path):
    canvas = pictures[0][1]
    np.save(tmp_path / "images.npy", np.stack([canvas, 255 - canvas]))
    (tmp_path / "quickstart.zip").write_bytes(files["nms.zip"].path.read_bytes())
    program = WITHOUT.format(["yolor_jax", "flax"])
    program += "import numpy\nimages = numpy.load('images.npy')\n"
    program += example("deserialize") + "numpy.savez('found', boxes=boxes, scores=scores)\n"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    given = np.load(tmp_path / "found.npz")
    ours = files["plain.onnx"].compute(np.load(tmp_path / "images.npy"), ["boxes", "scores"])
    np.testing.assert_allclose(given["boxes"], ours["boxes"], atol=1e-3)
    np.testing.assert_allclose(given["scores"], ours["scores"], atol=1e-5)


def test_the_client_of_the_page_finds_the_same_without_jax(files, pictures, network, tmp_path):
    program = WITHOUT.format(["jax", "yolor_jax"]) + "\n" + example("import onnxruntime")
    (tmp_path / "client.py").write_text(program)
    predictor = ExportedNetwork(files["plain.onnx"].path).predictor().predictor
    for name, image in pictures:
        cv2.imwrite(str(tmp_path / name), image[..., ::-1])
        command = [sys.executable, "client.py", str(files["plain.onnx"].path), name, "drawn.png"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        rows = [line.split() for line in done.stdout.splitlines()]
        [expected] = predictor([image])
        labels = [network.class_names.index(row[0]) for row in rows]
        boxes = np.float32([row[2:] for row in rows]).reshape(-1, 4)
        seen = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) > 0.1  # what is left of it in the picture
        np.testing.assert_allclose(boxes[seen], expected.boxes_xyxy, atol=0.006)
        np.testing.assert_array_equal(np.array(labels)[seen], expected.labels)
        drawn = cv2.imread(str(tmp_path / "drawn.png"))
        assert drawn.shape == image.shape and (drawn[..., ::-1] != image).any()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"image_size": 100}, "not a multiple of the largest stride 32; use 96 or 128"),
        ({"batch": 0}, "batch=0"),
        ({"dtype": "float64"}, "expected one of float32, bfloat16, float16, int8"),
        ({"dtype": "bfloat16"}, "use float16, or export to stablehlo"),
        ({"dtype": "int8"}, "dtype int8 without calibration"),
        ({"calibration": []}, "dtype float32 with calibration"),
        ({"dtype": "int8", "calibration": []}, "no picture to calibrate with"),
        ({"layout": "hwc"}, "expected one of nhwc, nchw"),
    ],
)
def test_a_form_that_does_not_fit_is_a_sentence(network, tmp_path, form, sentence):
    with pytest.raises(InputError, match=sentence):
        network.export(tmp_path / "a.onnx", **form)
    assert not list(tmp_path.iterdir())


def test_int8_is_onnx_alone(network, tmp_path):
    with pytest.raises(InputError, match="int8 is onnxruntime's"):
        network.export(tmp_path / "a.zip", dtype="int8", calibration=[])


def test_int8_is_the_network_up_to_its_last_convolutions(files):
    model = onnx.load(files["int8.onnx"].path)
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    whole = {"last": [], "others": []}
    for node in model.graph.node:
        if node.op_type == "Conv":
            weights = node.input[1]
            last = constants.get(weights) is not None
            whole["last" if last else "others"].append(node)
            if not last:
                made = producers[weights]
                kernel, scales = constants[made.input[0]], constants[made.input[1]]
                assert kernel.dtype == np.int8 and scales.shape == kernel.shape[:1]
    assert len(whole["last"]) == 3 and len(whole["others"]) > 10
    integers = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    reached = {"level0", "level1", "level2"}
    for node in model.graph.node:
        if not reached.isdisjoint(node.input):
            assert integers.isdisjoint(node.input), node.name
            reached |= set(node.output)
    assert "detected_boxes" in reached


def test_what_is_no_exported_file_is_a_sentence(files, network, tmp_path):
    data = files["plain.onnx"].path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.zip").write_bytes(files["nms.zip"].path.read_bytes()[:1000])
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    (tmp_path / "foreign.onnx").write_bytes(model.SerializeToString())
    for name, sentence in (
        ("cut.onnx", "no whole ONNX file"),
        ("cut.zip", "no whole StableHLO file"),
        ("foreign.onnx", "not exported by yolor_jax"),
        ("a.txt", "no ending of an exported file"),
    ):
        with pytest.raises(InputError, match=sentence):
            open_exported(tmp_path / name)
    with pytest.raises(InputError, match="no ending of an exported file"):
        network.export(tmp_path / "a.tflite")


def test_a_task_that_has_no_place_is_named_or_left_out(tmp_path):
    module = build(with_tasks(find_spec("yolor_test"), ["classify"]), 3)
    variables = random_leaves(variable_shapes(module))
    meta = {
        "model": "yolor_test", "implicit": None, "num_classes": 3, "tasks": ["classify"],
        "class_names": ["a", "b", "c"], "image_size": 64, "fused": False,
    }  # fmt: skip
    trained = Trained(module.spec, variables, meta)
    with pytest.raises(InputError, match="also does classify"):
        trained.export(tmp_path / "a.onnx")
    save_variables(tmp_path / "w.safetensors", variables, meta)
    file = export(tmp_path / "w.safetensors", tmp_path / "a.onnx", detection_only=True)
    assert {one.name for one in onnx.load(file.path).graph.output} == {"boxes", "scores"}


def test_a_setting_that_is_fixed_in_the_file_is_a_sentence(files):
    inside = ExportedNetwork(files["nms.onnx"].path)
    with pytest.raises(InputError, match=r"NMS inside: score 0\.4"):
        inside.predictor(score=0.5)
    with pytest.raises(InputError, match=r"takes \(64, 64\) pixels, got 96"):
        inside.predictor(image_size=96)
    for name, value in [("tta", True), ("fold", False), ("dtype", "bfloat16"), ("classes", ["a"])]:
        with pytest.raises(InputError, match=f"'{name}' is a setting of the network itself"):
            inside.predictor(**{name: value})
    inside.predictor(tta=False, fold=True, dtype="float32", classes=None)
