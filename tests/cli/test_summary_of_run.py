"""`yolor summary RUN` and FILE: the network as it was trained, and who made it."""

import json

import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import save_run
from yolor_jax.cli.main import main
from yolor_jax.runs import stamps
from yolor_jax.runs.opening import load
from yolor_jax.stamp import stamp
from yolor_jax.weights.store import save_variables


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    save_run(folder, grid_detector()[1])
    stamps.write(folder, [stamp() | {"command": "yolor train"}, stamp() | {"command": "again"}])
    return folder


def summary(capsys, *words):
    assert main(["summary", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_of_a_run(run, capsys):
    said = summary(capsys, run)
    assert said.startswith(f"{run}: yolor_test: 3 classes, 64 x 64 pixels")
    assert f"{run} was made by, in 2 steps" in said
    assert "command    yolor train" in said and "command    again" in said
    figures = json.loads(summary(capsys, run, "--json"))
    assert figures["classes"] == 3 and figures["model"] == "yolor_test"
    assert [one["command"] for one in figures["stamps"]] == ["yolor train", "again"]
    zoo = json.loads(summary(capsys, "yolor_test", "--classes", 3, "--image-size", 64, "--json"))
    assert figures["total"] == zoo["total"] and "stamps" not in zoo


def test_of_a_file_and_of_one_from_before_there_were_stamps(run, tmp_path, capsys):
    folded = load(run).folded()
    save_variables(tmp_path / "f.safetensors", folded.variables, folded.meta)
    said = summary(capsys, tmp_path / "f.safetensors")
    assert "f.safetensors: yolor_test, folded: 3 classes" in said and "was made by\n" in said
    save_run(tmp_path / "old", grid_detector()[1])
    assert "from before there were stamps" in summary(capsys, tmp_path / "old")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["RUN", "--classes", "3"], "--classes is for a model of the zoo"),
        (["RUN", "--step", "7"], "no checkpoint of step 7"),
        (["RUN/gone"], "no such file"),
        (["yolor_test", "--step", "7"], "--step is of a run"),
        (["yolor_tset"], "yolor_tset"),
    ],
)
def test_wrong_input_is_a_sentence(run, capsys, words, sentence):
    assert main(["summary", *(word.replace("RUN", str(run)) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and err.count("\n") == 1
