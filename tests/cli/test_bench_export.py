"""``yolor bench export``: its figures fit together, and other work is no comparison."""

import json

import numpy as np
import pytest

from yolor_jax.bench import export
from yolor_jax.cli.main import main

SMALLEST = ["bench", "export", "--model", "yolor_test", "--image-size", "64", "--classes", "3"]

pytestmark = pytest.mark.usefixtures("own_cores")


def test_each_runtime_has_its_time_and_its_ratio_to_ours(tmp_path, capsys):
    file = tmp_path / "export.json"
    assert main([*SMALLEST, "--batch-size", "2", "--rounds", "2", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    names = set(figures["seconds"]) - {export.OURS}
    assert names >= set(export.FILES) == set(figures["megabytes"])
    assert set(figures["ratios"]) == names and min(figures["ratios"].values()) > 0
    assert "onnxruntime, int8" in capsys.readouterr().out


def test_other_boxes_are_no_comparison():
    ours = np.zeros((1, 2, 4)), np.zeros((1, 2, 3))
    with pytest.raises(ArithmeticError, match=r"scores of another and ours differ by 5\.0e-01"):
        export._require_all_same(ours, {"another": lambda: (ours[0], ours[1] + 1)})


def test_what_cannot_be_timed_is_a_sentence(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*SMALLEST, "--rounds", "0"])
    assert "--rounds: got 0, expected a whole number from 1 on" in capsys.readouterr().err
