"""``yolor export``, and the commands that take what it writes."""

import json

import numpy as np
import pytest

from tests.support import coco_folder
from tests.support.grid_detector import SCORE, grid_detector
from tests.support.saved_run import META
from tests.support.small_disk import room_for
from yolor_jax.cli.main import main
from yolor_jax.exports import certificate
from yolor_jax.weights.store import save_variables


def a_dog_in_a_cell(coco, _):
    coco["categories"] = [
        {"id": number, "name": name} for number, name in enumerate(META["class_names"], 1)
    ]
    coco["annotations"] = [
        coco_folder.box_entry(number, number, 2, (8 * number, 8, 8, 8), area=64)
        for number in range(1, 5)
    ]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Weights of a network that finds a dog in each cell, and data."""
    folder = tmp_path_factory.mktemp("export")
    save_variables(folder / "grid.safetensors", grid_detector()[1], {**META, "fused": False})
    coco_folder.write(folder / "pets", edit=a_dog_in_a_cell)
    coco_folder.write(folder / "others")
    return folder


@pytest.fixture(autouse=True)
def in_it(here, monkeypatch):
    monkeypatch.chdir(here)


def export(*words):
    return main(["export", "grid.safetensors", "--format", "onnx", *words])


def test_a_file_with_its_certificate_detects_and_is_evaluated(here, capsys):
    data = ["--data", "pets", "--split", "val"]
    assert export("--batch", "dynamic", "--verify", "pets/val", *data) == 0
    out = capsys.readouterr().out
    assert "wrote yolor_test-64.onnx" in out and "NOT ok" not in out
    written = json.loads((here / "yolor_test-64.onnx.certificate.json").read_text())
    assert written["ok"] and written["detections"]["matched"] == 4 * 6 * 8 + 4 * 2 * 8
    assert written["ap"]["file"] == written["ap"]["network"] and written["ap"]["file"]["AP"] > 0
    assert (
        "finds what the network finds" in (here / "yolor_test-64.onnx.certificate.html").read_text()
    )

    assert main(["eval", "--exported", "yolor_test-64.onnx", *data]) == 0
    assert "exported, by onnxruntime" in capsys.readouterr().out
    [record] = (here / "yolor_test-64.evaluations").glob("*/evaluation.json")
    assert json.loads(record.read_text())["metrics"] == written["ap"]["file"]

    words = ["detect", "pets/val", "--exported", "yolor_test-64.onnx", "--output", "found"]
    assert main(words) == 0
    rows = json.loads((here / "found" / "detections.json").read_text())["images"]
    assert len(rows) == 4 and len(list((here / "found").glob("*.jpg"))) == 4
    np.testing.assert_allclose(rows[0]["detections"][0]["score"], SCORE, atol=1e-5)


def test_nms_inside_is_what_is_evaluated_and_what_is_found(here, capsys):
    data = ["--data", "pets", "--split", "val"]
    inside = ["--nms", "inside", "--score", "0.02", "--iou", "0.6", "--output", "inside.onnx"]
    assert export(*inside, "--batch", "dynamic", "--verify", "pets/val", *data) == 0
    written = json.loads((here / "inside.onnx.certificate.json").read_text())
    assert written["ap"]["file"] == written["ap"]["network"] and written["ap"]["file"]["AP"] > 0
    capsys.readouterr()
    assert main(["eval", "--exported", "inside.onnx", *data]) == 0
    assert "NMS at IoU 0.6 of scores above 0.02" in capsys.readouterr().out
    words = ["detect", "pets/val", "--exported", "inside.onnx", "--output", "by_itself"]
    assert main(words) == 0
    found = json.loads((here / "by_itself" / "detections.json").read_text())
    assert (found["score_threshold"], found["iou_threshold"]) == (0.02, 0.6)
    assert export(*inside, "--batch", "2", "--overwrite") == 0
    assert not (here / "inside.onnx.certificate.json").exists()  # it was of another file


def test_int8_is_calibrated_with_pictures_and_evaluated(here, capsys):
    words = ["--dtype", "int8", "--calibrate", "pets/val", "--output", "int8.onnx", "--verify"]
    assert export(*words, "pets/val", "--data", "pets", "--split", "val") in (0, 1)
    written = json.loads((here / "int8.onnx.certificate.json").read_text())
    assert written["about"]["dtype"] == "int8"
    rows = {row["border"]: row for row in written["borders"]}
    assert rows["boxes of its logits"]["ok"] and rows["lost AP"]["values"] == 1
    assert "shown" in capsys.readouterr().out
    assert main(["eval", "--exported", "int8.onnx", "--data", "pets", "--split", "val"]) == 0


def test_a_missed_tolerance_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(certificate, "EXACT", certificate.Tolerance(-1.0, -1.0, -1.0, -1.0))
    assert export("--output", "missed.onnx", "--verify", "pets/val/001.jpg") == 1
    assert "NOT ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--image-size", "100"], "not a multiple of the largest stride 32; use 96 or 128"),
        (["--data", "pets"], "add --verify"),
        (["--split", "val"], "--split is of the data set; add --data"),
        (["--verify", "--data", "gone", "--output", "d.onnx"], "gone"),
        (
            ["--verify", "--data", "others", "--split", "val", "--output", "d.onnx"],
            "trained for 3 classes",
        ),
        (["--verify", "--data", "pets", "--image-size", "64x96"], "takes 64 x 96 pixels; export"),
        (["--output", "a.zip"], "ends in .onnx"),
        (["--dtype", "int8", "--output", "c.onnx"], "--calibrate FOLDER go together"),
        (["--calibrate", "pets/val", "--output", "c.onnx"], "got --dtype float32 with --calibrate"),
        (["--dtype", "int8", "--output", "c.onnx", "--calibrate", "gone"], "--calibrate needs"),
        (["--output", "gone/a.onnx"], "no folder gone"),
        (["--output", "b.onnx", "--verify", "gone"], "gone: no such file"),
    ],
)
def test_what_does_not_fit_is_a_sentence(here, words, sentence, capsys):
    assert export(*words) == 2
    assert sentence in capsys.readouterr().err
    assert not (here / "d.onnx").exists()


def test_height_and_width_are_not_dynamic(capsys):
    with pytest.raises(SystemExit):
        export("--image-size", "dynamic")
    assert "height and width are fixed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["eval", "--exported", "a.onnx"], "--exported needs --data"),
        (["eval", "--exported", "a.onnx", "--data", "pets", "--folded"], "--folded is fixed"),
        (["eval", "--exported", "gone.onnx", "--data", "pets"], "gone.onnx: No such file"),
        (["detect", "pets/val", "--exported", "a.txt"], "no ending of an exported file"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(words, sentence, capsys):
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["full.onnx", "full.zip"])
def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(here, name, capsys):
    form = {".onnx": "onnx", ".zip": "stablehlo"}[name[4:]]
    words = ["export", "grid.safetensors", "--format", form, "--output", name]
    (here / f"{name}.certificate.json").write_text("{}")  # of one that is to be replaced
    before = sorted(here.iterdir())
    with room_for(5000):
        assert main(words) == 2
    assert f"yolor export: {name}: File too large" in capsys.readouterr().err
    assert sorted(here.iterdir()) == before
