"""``yolor bench torch``: what it says without PyTorch, and its figures where there is one."""

import json
import sys

import pytest

from yolor_jax.bench import in_turn, torch
from yolor_jax.cli.main import main

SMALLEST = ["bench", "torch", "--model", "yolor_test", "--image-size", "64", "--classes", "3"]

pytestmark = pytest.mark.usefixtures("own_cores")


def test_ratio_is_to_the_faster_mode():
    seconds = {"slow": [4.0, 4.0, 4.0], "fast": [2.0, 1.0, 4.0], "ours": [1.0, 1.0, 2.0]}
    assert torch.ratio_to_best(seconds) == 0.5


def test_other_work_is_no_comparison():
    with pytest.raises(ArithmeticError, match=r"the loss and ours differ by 1\.0e-01"):
        in_turn.require_same("the loss", 1.2, 1.0)


def test_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(SMALLEST) == 2
    assert "pip install 'yolor-jax[torch]'" in capsys.readouterr().err


def test_more_threads_than_cores(capsys):
    assert main([*SMALLEST, "--threads", "4096"]) == 2
    assert "got 4096 threads; expected 1 to" in capsys.readouterr().err


@pytest.mark.long
def test_ratios(tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    file = tmp_path / "torch.json"
    assert main([*SMALLEST, "--batch-size", "8", "--rounds", "2", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["ratios"]["train"] > 0 and figures["ratios"]["predict"] > 0
    assert "channels_last" in capsys.readouterr().out
