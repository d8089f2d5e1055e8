"""``yolor convert``: every format in, ours and the original's out, to the bit; all wrong input.

The certificate is held against the golden outputs of the original, and against shifts made by hand.
"""

import dataclasses
import pathlib

import golden_models
import jax
import numpy as np
import pytest
import safetensors.numpy
import torch_archives as archives

from yolor_jax.cli.main import main
from yolor_jax.data.classes import COCO_NAMES
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.training.checkpoint import Checkpoints
from yolor_jax.training.state import TrainState
from yolor_jax.trees import flatten_by_path, replace
from yolor_jax.weights import certificate, store
from yolor_jax.weights.convert import expected_shapes, from_torch
from yolor_jax.weights.darknet_file import conv_sections, write_darknet

SMALL = MODELS["yolor_test"]
FIRST = "module_list.1.Conv2d.weight"  # of SMALL; section 0 is the space-to-depth
KINDS = {np.dtype(dtype): kind for kind, dtype in archives.DTYPES.items()}
UNUSED = "head.anchors"
LEVELS = ("level0", "level1", "level2")
OUTPUTS = (*LEVELS, "boxes", "scores")


def draw(spec, num_classes):
    """A state dict with signals of order one."""
    rng = np.random.default_rng(0)

    def tensor(shape):
        if len(shape) == 4 and shape[0] > 1:
            return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return rng.uniform(0.5, 1.5, shape)

    shapes = expected_shapes(spec, num_classes)
    return {name: tensor(leaf.shape).astype(np.float32) for name, leaf in shapes.items()}


def write_torch(path, state_dict):
    """What ``torch.save({"model": state_dict}, path)`` writes."""
    tensors = {
        name: archives.tensor(
            shape=array.shape,
            stride=[stride // array.itemsize for stride in array.strides],
            key=str(i),
            size=array.size,
            kind=KINDS[array.dtype],
        )
        for i, (name, array) in enumerate(state_dict.items())
    }
    value = archives.mapping({"epoch": archives.NONE, "model": archives.mapping(tensors)})
    storages = {str(i): array for i, array in enumerate(state_dict.values())}
    return archives.save(path, value, storages)


def require_equal(got, expected):
    """The same names, shapes, dtypes and bits."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape, name
        assert got[name].tobytes() == array.tobytes(), name


@pytest.fixture(scope="module")
def small():
    return draw(SMALL, 3)


@pytest.fixture
def here(tmp_path, monkeypatch, small):
    """A folder to work in, with the weights of a small network for three classes in it."""
    monkeypatch.chdir(tmp_path)
    safetensors.numpy.save_file(small, "theirs.safetensors")
    return tmp_path


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def refusal(capsys, *arguments):
    """What the command says of wrong input; it must leave nothing behind."""
    before = sorted(pathlib.Path().rglob("*"))
    assert convert(*arguments) == 2
    assert sorted(pathlib.Path().rglob("*")) == before
    out, err = capsys.readouterr()
    assert "written" not in out and err.startswith("yolor convert: ")
    return err.removeprefix("yolor convert: ").rstrip("\n")


# There and back


def there_and_back(folder, spec, tensors, state_dict):
    """From a file of the original to ours and out again."""
    assert convert(tensors, folder / "ours.safetensors") == 0
    variables, meta = store.load_variables(folder / "ours.safetensors")
    assert meta == {
        "model": spec.name,
        "implicit": None,
        "num_classes": 80,
        "class_names": list(COCO_NAMES),
        "image_size": 640 if spec.strides[-1] == 32 else 1280,
        "fused": False,
    }
    assert convert(folder / "ours.safetensors", folder / "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file(folder / "back.safetensors"), state_dict)
    return variables


@pytest.mark.parametrize(
    ("name", "theirs", "ours"),
    [
        ("main__yolor_csp", "module_list.0.Conv2d", "stem"),
        ("paper__yolor-ssss-dwt", "model.3.m.0.cv2.conv", "stage1/csp/bottleneck0/expand"),
    ],
)
def test_pytorch_there_and_back(golden, tmp_path, name, theirs, ours, capsys):
    spec, facts, _, state_dict = golden_models.load(golden, name)
    write_torch(tmp_path / "a.pt", state_dict)
    variables = there_and_back(tmp_path, spec, tmp_path / "a.pt", state_dict)
    out = capsys.readouterr().out
    assert f"PyTorch checkpoint, tensors: {len(state_dict)} float32\n{spec.name}: 80 classes" in out
    assert f"(person ...), {facts['num_params']:,} parameters" in out
    assert f"yolor detect IMAGE... --checkpoint {tmp_path / 'ours.safetensors'}" in out
    assert 'load_state_dict(safetensors.torch.load_file("' in out
    got = flatten_by_path(variables)[f"params/backbone/{ours}/conv/kernel"]
    assert got[0, 2, 1, 5] == state_dict[f"{theirs}.weight"][5, 1, 0, 2]
    assert got.dtype == np.float32


def test_half_precision_and_counters(golden, tmp_path, capsys):
    """Halves become the same numbers in float32; counters go."""
    spec, _, _, state_dict = golden_models.load(golden, "paper__yolor-ssss-s2d")
    state_dict = {name: array.astype(np.float16) for name, array in state_dict.items()}
    count = {"model.3.cv1.bn.num_batches_tracked": np.array([7])}
    write_torch(tmp_path / "a.pt", {f"module.{k}": v for k, v in (state_dict | count).items()})
    wide = {name: array.astype(np.float32) for name, array in state_dict.items()}
    there_and_back(tmp_path, spec, tmp_path / "a.pt", wide)
    assert f"tensors: {len(state_dict)} float16\nyolor_ssss_s2d: 80" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("name", golden_models.NAMES)
def test_all_models_there_and_back(golden, tmp_path, name):
    spec, _, _, state_dict = golden_models.load(golden, name)
    safetensors.numpy.save_file(state_dict, tmp_path / "theirs.safetensors")
    there_and_back(tmp_path, spec, tmp_path / "theirs.safetensors", state_dict)


def test_a_state_dict_to_a_state_dict(here, small):
    write_torch(here / "a.pt", small)
    assert convert("a.pt", "b.safetensors", "--to", "torch", "--model", "yolor_test") == 0
    require_equal(safetensors.numpy.load_file("b.safetensors"), small)


def plain(monkeypatch, *names):
    """A zoo of small models without implicit knowledge."""
    spec = with_implicit(SMALL, {})
    for model in list(MODELS):
        monkeypatch.delitem(MODELS, model)
    for name in names:
        monkeypatch.setitem(MODELS, name, dataclasses.replace(spec, name=name))
    return spec


def write_weights(path, spec, num_classes):
    state_dict = draw(spec, num_classes)
    shapes = {name: array.shape for name, array in state_dict.items()}
    write_darknet(path, state_dict, conv_sections(shapes))
    return state_dict


def test_darknet(here, monkeypatch, capsys):
    spec = plain(monkeypatch, "plain")
    state_dict = write_weights(here / "a.weights", spec, 20)
    assert convert("a.weights", "ours.safetensors", "--classes", 20) == 0
    assert "a.weights: darknet file, tensors: " in capsys.readouterr().out
    variables, meta = store.load_variables("ours.safetensors")
    assert (meta["model"], meta["num_classes"]) == ("plain", 20)
    assert meta["class_names"][:2] == ["class0", "class1"] and len(meta["class_names"]) == 20
    require_equal(flatten_by_path(variables), flatten_by_path(from_torch(spec, state_dict)[0]))
    assert convert("ours.safetensors", "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file("back.safetensors"), state_dict)


@pytest.mark.long
def test_darknet_of_the_zoo(golden, tmp_path):
    spec, _, _, state_dict = golden_models.load(golden, "main__yolov4_csp")
    shapes = {name: array.shape for name, array in state_dict.items()}
    write_darknet(tmp_path / "a.weights", state_dict, conv_sections(shapes))
    there_and_back(tmp_path, spec, tmp_path / "a.weights", state_dict)


def test_wrong_darknet_files(here, monkeypatch, capsys):
    spec = plain(monkeypatch, "plain", "twin")
    write_weights(here / "a.weights", spec, 80)
    said = refusal(capsys, "a.weights", "b.safetensors")
    assert "a.weights: these weights fit plain and twin" in said
    assert said.endswith("with 80 classes, which have equal tensors; name the model")
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 20)
    assert "the sizes of none of plain, twin with 20 classes" in said
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 0)
    assert said == "--classes is 0; expected at least 1"
    said = refusal(capsys, "a.weights", "b.safetensors", "--classes", 20, "--model", "plain")
    assert "numbers, expected" in said
    monkeypatch.setitem(MODELS, "yolor_test", SMALL)
    said = refusal(capsys, "a.weights", "b.safetensors", "--model", "yolor_test")
    assert "yolor_test has them; expected one of plain, twin" in said
    assert convert("a.weights", "b.safetensors", "--model", "twin") == 0


def test_a_training_run(here, small, capsys):
    """The moving average, with what the run knows of itself."""
    variables, _ = from_torch(SMALL, small)
    variables = jax.tree.map(np.ascontiguousarray, variables)
    zeros = jax.tree.map(np.zeros_like, variables)
    state = TrainState(
        step=np.int32(1),
        updates=np.int32(1),
        params=zeros["params"],
        batch_stats=zeros["batch_stats"],
        ema_params=variables["params"],
        ema_batch_stats=variables["batch_stats"],
        opt_state={},
        gradients={},
    )
    meta = {"model": "yolor_test", "implicit": None, "num_classes": 3}
    meta |= {"class_names": ["cat", "dog", "sheep"], "image_size": 64}
    with Checkpoints("run", meta) as checkpoints:
        checkpoints.save(1, state, position=0)
    capsys.readouterr()
    assert convert("run", "ours.safetensors") == 0
    assert "run: moving average of a run, tensors: " in capsys.readouterr().out
    got, known = store.load_variables("ours.safetensors")
    assert known == meta | {"fused": False}
    require_equal(flatten_by_path(got), flatten_by_path(variables))
    assert convert("run", "back.safetensors", "--to", "torch") == 0
    require_equal(safetensors.numpy.load_file("back.safetensors"), small)


def test_ours_to_ours_with_other_names_and_size(here):
    pathlib.Path("names.txt").write_text("cat\n dog\nBär\n\n", encoding="utf-8")
    arguments = ("--class-names", "names.txt", "--image-size", 96)
    assert convert("theirs.safetensors", "a.safetensors", *arguments) == 0
    assert convert("a.safetensors", "b.safetensors", "--image-size", 64) == 0
    variables, meta = store.load_variables("b.safetensors")
    assert (meta["class_names"], meta["image_size"]) == (["cat", "dog", "Bär"], 64)
    require_equal(
        flatten_by_path(variables), flatten_by_path(store.load_variables("a.safetensors")[0])
    )


def ours(path, spec, variables, **meta):
    """Writes a file of ours."""
    known = {"model": "yolor_test", "implicit": None, "num_classes": 3, "image_size": 64}
    known |= {"class_names": ["a", "b", "c"], "fused": False}
    store.save_variables(path, variables, known | meta)


def test_folded_weights(here, small, capsys):
    """They can be copied, and nothing that needs what the fold has merged."""
    folded = fold(SMALL, from_torch(SMALL, small)[0])
    ours("folded.safetensors", SMALL, folded, fused=True)
    assert convert("folded.safetensors", "copy.safetensors") == 0
    assert "yolor_test, folded: 3 classes" in capsys.readouterr().out
    got, _ = store.load_variables("copy.safetensors")
    require_equal(flatten_by_path(got), flatten_by_path(jax.device_get(folded)))
    said = refusal(capsys, "folded.safetensors", "b.safetensors", "--to", "torch")
    assert "is folded; the original has no names for such weights" in said
    said = refusal(capsys, "folded.safetensors", "b.safetensors", "--verify", "r.npz")
    assert "is folded; --verify needs the weights before the fold" in said


def test_implicit_knowledge_that_the_original_does_not_have(here, small, capsys):
    implicit = {"alignment": "multiply"}
    spec = with_implicit(SMALL, implicit)
    shapes = variable_shapes(build(spec, 3))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
    ours("laboratory.safetensors", spec, variables, implicit=implicit)
    assert convert("laboratory.safetensors", "copy.safetensors") == 0
    assert store.load_variables("copy.safetensors")[1]["implicit"] == implicit
    capsys.readouterr()
    said = refusal(capsys, "laboratory.safetensors", "b.safetensors", "--to", "torch")
    assert "implicit knowledge for which the original's checkpoints have no name" in said


# The model


def test_the_nearest_model_is_named(here, small, capsys):
    tensors = {name: array for name, array in small.items() if name != FIRST}
    safetensors.numpy.save_file(tensors | {UNUSED: np.zeros(3)}, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors")
    assert "these 317 tensors are those of no model of the zoo; nearest is yolor_" in said
    assert "with 1 names missing and 1 unused. Name the model" in said and "yolor_e6, " in said


def test_names_fit_but_no_shapes(here, small, capsys):
    safetensors.numpy.save_file(small | {FIRST: np.zeros((9, 12, 3, 3))}, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors")
    assert "have the sizes of none of yolor_nano, yolor_test; name the model" in said


def test_two_models_fit(here, monkeypatch, capsys):
    twin = dataclasses.replace(SMALL, name="twin", activation="mish")
    monkeypatch.setitem(MODELS, "twin", twin)
    said = refusal(capsys, "theirs.safetensors", "b.safetensors")
    assert said == (
        "these weights fit yolor_test and twin, which have equal tensors; name the model"
    )
    assert convert("theirs.safetensors", "b.safetensors", "--model", "twin") == 0
    assert store.load_variables("b.safetensors")[1]["model"] == "twin"


def test_every_difference_is_listed(here, small, capsys):
    tensors = {name: array for name, array in small.items() if name != FIRST}
    second = "module_list.2.Conv2d.weight"
    tensors |= {UNUSED: np.zeros(3, np.float32), second: np.zeros((8, 8, 1, 1), np.float32)}
    safetensors.numpy.save_file(tensors, "x.safetensors")
    said = refusal(capsys, "x.safetensors", "b.safetensors", "--model", "yolor_test")
    first, *rest = said.splitlines()
    assert first.endswith("not those of yolor_test with 3 classes, 3 differences:")
    assert sorted(rest) == [
        f"  {UNUSED} is unused: got float32[3], expected no such leaf",
        f"  {FIRST} is missing: expected float32[8, 12, 3, 3]",
        f"  {second} has shape [8, 8, 1, 1]: expected [8, 8, 3, 3]",
    ]


def test_our_file_with_other_leaves(here, small, capsys):
    variables, _ = from_torch(SMALL, small)
    del variables["params"]["backbone"]["stem"]
    ours("broken.safetensors", SMALL, variables)
    said = refusal(capsys, "broken.safetensors", "b.safetensors")
    assert said.startswith("broken.safetensors does not hold what yolor_test needs, 3 differences:")
    assert "params/backbone/stem/conv/kernel is missing" in said


# Wrong input

JUNK = bytes(range(200, 256))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "x.pt: is empty"),
        (b"<!DOCTYPE html><html>", "x.pt: is a web page"),
        (JUNK, "expected a PyTorch checkpoint (.pt), a safetensors file or a darknet file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "begins with b'\\x93NUMPY"),
        (b"abc", "begins with b'abc'"),
        (b"PK\x03\x04" + JUNK, "x.pt: is cut off or damaged"),
        (b"\x80\x02}q\x00.", "expected a zip archive as torch.save writes it"),
        (b"\x09\0\0\0\0\0\0\0{" + JUNK, "x.pt: is no safetensors file that NumPy can hold"),
        ((0).to_bytes(4) * 10, "has format version 0.0.0, expected darknet"),
    ],
    ids=["empty", "html", "junk", "numpy", "short", "zip", "pickle", "safetensors", "darknet"],
)
def test_files_of_no_use(here, capsys, content, sentence):
    pathlib.Path("x.pt").write_bytes(content)
    assert sentence in refusal(capsys, "x.pt", "b.safetensors", "--model", "yolov4_csp")


def test_files_cut_off(here, small, capsys):
    write_torch(here / "a.pt", small)
    convert("theirs.safetensors", "ours.safetensors")
    capsys.readouterr()
    for name in ("a.pt", "theirs.safetensors", "ours.safetensors"):
        data = pathlib.Path(name).read_bytes()
        pathlib.Path(name).write_bytes(data[: len(data) // 2])
        said = refusal(capsys, name, "b.safetensors")
        assert said.startswith(f"{name}: is ") and "\n" not in said


def test_a_file_before_torch_1_6(golden, here, capsys):
    said = refusal(capsys, golden / "weights" / "legacy_not_zip.pt", "b.safetensors")
    assert "is in the format of torch before 1.6" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone.pt", "b.safetensors"], "No such file or directory: 'gone.pt'"),
        ([".", "b.safetensors"], "expected the workdir of a training run"),
        (["theirs.safetensors", "b.pt"], "OUTPUT is b.pt; expected a name that ends in .safet"),
        (["theirs.safetensors", "theirs.safetensors"], "theirs.safetensors exists; choose anoth"),
        (["theirs.safetensors", "d.safetensors", "--overwrite"], "d.safetensors exists; choose"),
        (["theirs.safetensors", "gone/b.safetensors"], "no folder gone to write b.safetensors to"),
        ([..., "--model", "yolor_tset"], "no model 'yolor_tset'; did you mean 'yolor_test'?"),
        ([..., "--model", "yolor_nano"], "not those of yolor_nano with 3 classes"),
        ([..., "--model", "yolor_e6"], "these are the weights of another model. They begin with"),
        ([..., "--classes", "80"], "theirs.safetensors is of 3 classes; leave out --classes 80"),
        ([..., "--class-names", "two.txt"], "has 2 lines with 2 different names; expected one na"),
        ([..., "--class-names", "same.txt"], "has 3 lines with 2 different names; expected one n"),
        ([..., "--class-names", "gone.txt"], "No such file or directory: 'gone.txt'"),
        ([..., "--class-names", "binary.txt"], "can't decode byte"),
        ([..., "--image-size", "100"], "100 is not a multiple of the largest stride 32; use 96 or"),
        ([..., "--verify", "gone.npz"], "No such file or directory: 'gone.npz'"),
        ([..., "--verify", "two.txt"], "two.txt: is no whole .npz of plain arrays"),
        (
            ["ours.safetensors", "b.safetensors", "--model", "yolor_p6"],
            "leave out --model yolor_p6",
        ),
    ],
)
def test_wrong_arguments(here, capsys, arguments, sentence):
    pathlib.Path("two.txt").write_text("a\nb\n")
    pathlib.Path("same.txt").write_text("a\nb\na\n")
    pathlib.Path("binary.txt").write_bytes(JUNK)
    pathlib.Path("d.safetensors").mkdir()
    if arguments[0] == "ours.safetensors":
        convert("theirs.safetensors", "ours.safetensors")
        capsys.readouterr()
    if arguments[0] is ...:
        named = ["theirs.safetensors", "b.safetensors", "--model", "yolor_test"]
        arguments = [*named, *arguments[1:]]
    assert sentence in refusal(capsys, *arguments)


@pytest.mark.parametrize("tolerance", ["0", "-1", "nan", "x"])
def test_wrong_tolerance(here, capsys, tolerance):
    with pytest.raises(SystemExit) as stop:
        convert("theirs.safetensors", "b.safetensors", "--tolerance", tolerance)
    assert stop.value.code == 2 and "--tolerance" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["yolor", "torch"])
def test_overwrite(here, monkeypatch, capsys, form):
    """The old file stays until the new one is whole."""
    pathlib.Path("b.safetensors").write_text("old")
    arguments = ("theirs.safetensors", "b.safetensors", "--to", form, "--overwrite")

    def fail(tensors, path, **metadata):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.numpy, "save_file", fail)
        assert "no space left" in refusal(capsys, *arguments)
    assert pathlib.Path("b.safetensors").read_text() == "old"
    assert convert(*arguments) == 0
    assert len(safetensors.numpy.load_file("b.safetensors")) == 317
    pathlib.Path("plain").touch()
    assert pathlib.Path("b.safetensors").stat().st_mode == pathlib.Path("plain").stat().st_mode


# The certificate


@pytest.fixture(scope="module")
def network(small):
    module = build(SMALL, 3)
    return module, from_torch(SMALL, small)[0]


@pytest.fixture(scope="module")
def made(network):
    """A reference out of the network itself, decoded by the formula in float64."""
    module, variables = network
    images = np.random.default_rng(1).random((2, 3, 64, 32), np.float32)
    logits = jax.jit(module.apply)(variables, images.transpose(0, 2, 3, 1)).detect
    levels = [np.moveaxis(np.asarray(level), 3, 1) for level in logits]
    rows = []
    for level, stride, anchors in zip(levels, SMALL.strides, SMALL.anchors, strict=True):
        sigmoid = 1 / (1 + np.exp(-level.astype(np.float64)))
        y, x = np.indices(level.shape[2:4])
        decoded = sigmoid.copy()
        decoded[..., 0] = (2 * sigmoid[..., 0] - 0.5 + x) * stride
        decoded[..., 1] = (2 * sigmoid[..., 1] - 0.5 + y) * stride
        decoded[..., 2:4] = 4 * sigmoid[..., 2:4] ** 2 * np.array(anchors)[:, None, None]
        rows.append(decoded.reshape(2, -1, 8))
    named = dict(zip(LEVELS, levels, strict=True))
    return {"images": images, **named, "decoded": np.concatenate(rows, 1).astype(np.float32)}


@pytest.fixture
def outputs(made):
    return dict(made)


def rows_of(network, reference, tolerance=1e-4):
    rows = certificate.certify(*network, reference, tolerance)
    return {(row.network, row.output): row for row in rows}


def test_a_network_agrees_with_itself(network, outputs, monkeypatch):
    precisions = []

    def rows(*arguments):
        precisions.append(jax.config.jax_default_matmul_precision)
        return one_network(*arguments)

    one_network = certificate._rows
    monkeypatch.setattr(certificate, "_rows", rows)
    rows = rows_of(network, outputs)
    assert list(rows) == [(n, name) for n in ("trained", "folded") for name in OUTPUTS]
    assert all(row.ok for row in rows.values())
    assert rows["trained", "level0"].max_error < rows["folded", "level0"].max_error < 1e-5
    for name in LEVELS:
        std = outputs[name].astype(np.float64).std()
        assert rows["folded", name].reference_std == pytest.approx(std)
    assert precisions == ["highest", "highest"], "on GPUs and TPUs the default has fewer bits"


def test_shifts_are_found_and_measured(network, outputs):
    """Of a logit and a score; a box may differ by a hundredth of a pixel."""
    level, decoded = outputs["level1"].copy(), outputs["decoded"].copy()
    shifted = (1, 2, 3, 0, 7)  # [B, A, h, w, 5 + K]
    level[shifted] += 0.5
    decoded[0, 5, 2] += 0.009
    decoded[1, 7, 6] += 0.009
    rows = rows_of(network, outputs | {"level1": level, "decoded": decoded})
    for name in ("trained", "folded"):
        row = rows[name, "level1"]
        assert row.worst == shifted and row.excess == pytest.approx(5000, rel=1e-3)
        assert row.max_error == pytest.approx(0.5, rel=1e-4)
        assert row.mean_error == pytest.approx(0.5 / level.size, rel=0.1)
        assert row.expected == level[shifted] and row.got == pytest.approx(level[shifted] - 0.5)
        assert rows[name, "scores"].worst == (1, 7, 2)
        assert rows[name, "boxes"].worst == (0, 5, 2)
        assert rows[name, "boxes"].max_error == pytest.approx(0.009, rel=0.05)
        assert [o for o in OUTPUTS if not rows[name, o].ok] == ["level1", "scores"]

    del outputs["decoded"]
    rows = rows_of(network, outputs | {"level1": level}, 0.51)
    assert list(rows) == [(n, name) for n in ("trained", "folded") for name in LEVELS]
    assert all(row.ok for row in rows.values())


def test_the_order_of_predictions_matters(network, outputs):
    """Anchors last, as our own decoder has them, is another order; and boxes have a limit."""
    levels = np.split(outputs["decoded"], [96, 120], axis=1)
    cells = [level.reshape(2, 3, -1, 8).swapaxes(1, 2).reshape(level.shape) for level in levels]
    rows = rows_of(network, outputs | {"decoded": np.concatenate(cells, axis=1)})
    assert [o for o in OUTPUTS if not rows["trained", o].ok] == ["boxes", "scores"]


def test_nan_is_not_ok(network, outputs):
    module, variables = network
    bias = "params/head/level2/conv/bias"
    broken = flatten_by_path(variables)[bias].copy()
    broken[13] = np.nan  # anchor 1, score of class 0
    rows = rows_of((module, replace(variables, {bias: broken})), outputs)
    assert not rows["trained", "level2"].ok and not rows["folded", "scores"].ok
    assert rows["trained", "level2"].worst == (0, 1, 0, 0, 5)


def test_the_folded_network_is_measured_too(network, outputs, monkeypatch):
    def wrong(spec, variables):
        folded = fold(spec, variables)
        folded["params"]["head"]["level2"]["conv"]["bias"] += 0.25
        return folded

    monkeypatch.setattr(certificate, "fold", wrong)
    rows = rows_of(network, outputs)
    bad = [name for name, row in rows.items() if not row.ok]
    assert bad == [("folded", name) for name in ("level2", "boxes", "scores")]
    assert rows["folded", "level2"].max_error == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"level1": None}, "3 classes: level1 is missing$"),
        ({"level1": None, "leve11": np.zeros(3)}, "leve11 is unused; level1 is missing"),
        ({"level2": np.zeros((2, 3, 1, 2, 8))}, r"level2 is float64\[2, 3, 1, 2, 8\], expected fl"),
        ({"decoded": np.zeros((2, 5, 8), int)}, r"decoded is int64.*expected float32\[2, 126, 8\]"),
        (
            {"level0": np.full((2, 3, 8, 4, 8), np.inf)},
            "classes: level0 has infinite values or NaN$",
        ),
        ({"images": None}, "needs images, float32 .*; got none"),
        ({"images": np.zeros((1, 64, 32, 3))}, r"got float64\[1, 64, 32, 3\]"),
        ({"images": np.zeros((0, 3, 64, 32))}, "got float64.0, 3, 64, 32."),
        ({"images": np.zeros((2, 3, 64, 32), np.uint8)}, "got uint8"),
        ({"images": np.full((2, 3, 64, 32), 255.0)}, "go from 255.0 to 255.0; expected 0 to 1"),
        ({"images": np.full((2, 3, 64, 32), np.nan)}, "go from nan to nan; expected 0 to 1"),
        ({"images": np.zeros((2, 3, 64, 40))}, "40 is not a multiple of the largest stride 32"),
    ],
)
def test_references_that_do_not_fit(network, outputs, change, sentence):
    reference = {name: array for name, array in (outputs | change).items() if array is not None}
    with pytest.raises(ValueError, match=sentence):
        certificate.certify(*network, reference, 1e-4)


@pytest.mark.parametrize("content", ["pickle", "npy", "cut"])
def test_references_that_are_none(tmp_path, content):
    path = tmp_path / "r.npz"
    np.savez(path, images=np.array([{}, "x"], object) if content == "pickle" else np.zeros(99))
    if content == "npy":
        np.save(tmp_path / "r.npy", np.zeros(3))
        path = tmp_path / "r.npy"
    if content == "cut":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"is no whole \.npz of plain arrays"):
        certificate.read_reference(path)


@pytest.fixture(scope="module")
def dwt(golden, tmp_path_factory):
    """Weights and a reference of the original, as files."""
    folder = tmp_path_factory.mktemp("dwt")
    model = golden_models.load(golden, "paper__yolor-ssss-dwt")
    safetensors.numpy.save_file(model.state_dict, folder / "dwt.safetensors")
    images = golden_models.images(model.facts["input"]["shape"]).transpose(0, 3, 1, 2)
    kept = {name: model.arrays[name] for name in (*LEVELS, "decoded")}
    np.savez(folder / "reference.npz", images=images, **kept)
    return folder, model.state_dict


def test_the_original_certifies(dwt, tmp_path, capsys):
    folder, _ = dwt
    reference = folder / "reference.npz"
    arguments = (folder / "dwt.safetensors", tmp_path / "ours.safetensors", "--verify", reference)
    assert convert(*arguments, "--tolerance", "5e-5") == 0
    lines = capsys.readouterr().out.splitlines()[2:13]
    assert lines[0].split() == "network output max error mean error std of reference".split()
    assert [line.split()[:2] for line in lines[1:]] == [
        [network, output] for network in ("trained", "folded") for output in OUTPUTS
    ]
    assert all(line.endswith(" ok") and "NOT" not in line for line in lines[1:])
    assert store.load_variables(tmp_path / "ours.safetensors")[1]["model"] == "yolor_ssss_dwt"


def test_one_wrong_weight_is_not_certified(dwt, tmp_path, capsys):
    folder, state_dict = dwt
    name = "model.3.m.0.cv2.conv.weight"
    kernel = state_dict[name].copy()
    kernel[5, 1, 0, 2] += 0.01
    safetensors.numpy.save_file(state_dict | {name: kernel}, tmp_path / "x.safetensors")
    output, reference = tmp_path / "b.safetensors", folder / "reference.npz"
    assert convert(tmp_path / "x.safetensors", output, "--verify", reference) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[3].endswith("NOT ok") and "written" not in out
    assert err.startswith(f"yolor convert: {tmp_path / 'b.safetensors'} not written: ")
    assert "outputs are not within the tolerance of 0.0001; farthest is " in err
    assert err.count("\n") == 1 and not (tmp_path / "b.safetensors").exists()
