"""``yolor bench metrics`` on a few images."""

import json
import sys

import pytest

from yolor_jax.bench.metrics import Trial, drawn
from yolor_jax.cli.main import main
from yolor_jax.evaluation.analysis import analyse
from yolor_jax.evaluation.coco import BACKENDS, coco_metrics

FEW = ["--images", "4", "--detections", "10", "--classes", "3", "--rounds", "2"]


def test_a_table_and_json(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert main(["bench", "metrics", *FEW, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert figures["settings"] | {"cores": 0} == {
        "images": 4, "detections": 10, "classes": 3, "rounds": 2, "cores": 0,
    }  # fmt: skip
    names = [row["program"] for row in figures["programs"]]
    libraries = [f"twelve numbers, {backend}" for backend in BACKENDS]
    assert names == [*libraries, "analysis", "twelve numbers and analysis"]
    for row in figures["programs"]:
        assert row["program"] in out
        assert row["seconds"] > 0


def test_what_is_not_installed_is_left_out(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    assert main(["bench", "metrics", *FEW]) == 0
    out = capsys.readouterr().out
    assert "hotcoco" not in out and "pycocotools" in out


@pytest.mark.parametrize("option", ["--images", "--detections", "--classes", "--rounds"])
def test_no_number_may_be_0(option, capsys):
    assert main(["bench", "metrics", *FEW, option, "0"]) == 2
    assert f"{option[2:]} is 0; expected at least 1" in capsys.readouterr().err


def test_the_boxes_are_worth_a_measurement():
    """As many as asked for, the same each time, neither all right nor all wrong."""
    ground_truth, results = drawn(Trial(images=30, detections=20, classes=3))
    assert drawn(Trial(images=30, detections=20, classes=3)) == (ground_truth, results)
    assert len(results) == 600
    assert 150 < len(ground_truth["annotations"]) < 270
    assert 0.2 < coco_metrics(ground_truth, results)["AP50"] < 0.8
    kinds = analyse(ground_truth, results).errors
    assert all(kinds[name].count > 10 for name in kinds if name not in ("missed", "false_negative"))
