"""``yolor bench device``: parts fail, wait and are done again each on its own."""

import json

import pytest

from yolor_jax.bench import device, device_parts
from yolor_jax.bench.device import SMALL
from yolor_jax.cli.main import main
from yolor_jax.cli.recipes import read_recipe

RECIPE = read_recipe("quickstart", [])


@pytest.fixture
def calls(monkeypatch):
    """Three parts in place of the real ones; the second fails the first time."""
    called = []

    def part(name):
        def run():
            called.append(name)
            if name == "two" and called.count("two") == 1:
                raise RuntimeError("out of memory")
            return {"seconds": 1.0}

        return run

    made = {name: part(name) for name in ("one", "two", "three")}
    monkeypatch.setattr(device, "parts", lambda sizes, recipe: made)
    return called


def test_a_part_that_fails_is_done_again_and_the_others_are_not(calls, tmp_path, capsys):
    file = tmp_path / "device.json"
    command = ["bench", "device", "--out", str(file), "--small"]
    assert main(command) == 1
    assert "do it again: two" in capsys.readouterr().out
    figures = json.loads(file.read_text())["parts"]
    assert figures["two"] == {"error": "RuntimeError: out of memory"}
    assert figures["three"] == {"seconds": 1.0}
    assert main(command) == 0
    assert calls == ["one", "two", "three", "two"]
    assert json.loads(file.read_text())["parts"]["two"] == {"seconds": 1.0}


def test_no_part_begins_when_the_minutes_are_over(calls, tmp_path):
    left = device.measure(tmp_path / "d.json", SMALL, RECIPE, minutes=-1.0, say=print)
    assert left == ["one", "two", "three"] and calls == []


def test_figures_of_another_commit_are_kept(calls, tmp_path, capsys):
    file = tmp_path / "device.json"
    text = json.dumps({"stamp": {"commit": "0123", "device": "TPU v4"}, "parts": {}})
    file.write_text(text)
    assert main(["bench", "device", "--out", str(file)]) == 2
    assert "was begun on TPU v4 at commit 0123" in capsys.readouterr().err
    assert file.read_text() == text and calls == []


def test_another_file_is_kept(calls, tmp_path, capsys):
    file = tmp_path / "notes.json"
    file.write_text("[]")
    assert main(["bench", "device", "--out", str(file)]) == 2
    assert "is no file of this command" in capsys.readouterr().err
    assert file.read_text() == "[]"


def test_the_parts_have_names_of_their_own_and_begin_with_the_ceiling():
    names = list(device.parts(device.FULL, RECIPE))
    assert names[:2] == ["ceiling", "predict yolor_csp 640 batch 1"]
    assert "train yolor_p6 1280 batch 16" in names
    assert "predict yolor_csp 640 batch 128" in names
    assert names[-3:-1] == ["pipeline", "profile yolor_csp 640 batch 16"]


def test_the_ceiling_of_this_machine():
    assert min(device_parts.ceiling(matrix_side=32, copied_mib=1).values()) > 0
