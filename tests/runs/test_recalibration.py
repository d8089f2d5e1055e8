"""A run whose evaluations take batch norm's statistics anew, and ``yolor recalibrate``."""

import json

import jax
import numpy as np
import pytest

from tests.support.small_recipe import evaluate, small_recipe, train
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.preparation import shapes
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.opening import load
from yolor_jax.runs.recalibration import recalibrated
from yolor_jax.training.checkpoints import statistics
from yolor_jax.training.metrics import read_json_lines

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    sizes = {"train": 20, "validation": 10}
    data = shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)
    return small_recipe(data)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """The workdir of a run of four steps, evaluated with exact statistics."""
    config.eval.recalibrate = 16
    workdir = tmp_path_factory.mktemp("run")
    train(config, workdir)
    return workdir


def leaves(trained):
    return jax.tree.leaves(trained.variables["batch_stats"])


def test_what_was_evaluated_is_what_opens(finished):
    trained = load(finished)
    assert trained.meta["exact_statistics"] == 16
    rows = [row for row in read_json_lines(finished / "metrics.jsonl") if "eval/AP50" in row]
    assert evaluate(finished).metrics["AP50"] == pytest.approx(rows[-1]["eval/AP50"], abs=1e-6)
    [last] = (finished / "evaluations").iterdir()
    record = json.loads((last / "evaluation.json").read_text())
    assert record["mode"]["exact_statistics"] == 16 and "exact16" in last.name
    assert trained.folded().meta["exact_statistics"] == 16


def test_the_course_of_training_is_that_without(finished, config, tmp_path):
    config.eval.recalibrate = 0
    train(config, tmp_path)
    without, trained = load(tmp_path), load(finished)
    assert "exact_statistics" not in without.meta
    jax.tree.map(
        np.testing.assert_array_equal, without.variables["params"], trained.variables["params"]
    )
    assert any((a != b).any() for a, b in zip(leaves(without), leaves(trained), strict=True))
    again = recalibrated(without, recipes.load(tmp_path), images=16)
    for one, other in zip(leaves(again), leaves(trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_by_command_and_back(finished, capsys):
    assert main(["recalibrate", str(finished), "--images", "8"]) == 0
    out = capsys.readouterr().out
    assert "before" in out and "exact" in out and "--step 4 --undo" in out
    assert load(finished).meta["exact_statistics"] == 8
    assert main(["recalibrate", str(finished), "--step", "4", "--undo"]) == 0
    assert "exact_statistics" not in load(finished).meta
    assert main(["recalibrate", str(finished), "--undo"]) == 0
    assert "there were no others" in capsys.readouterr().out


def test_the_number_said_is_that_of_whole_batches(finished, capsys):
    batch = recipes.load(finished).batch_size
    assert main(["recalibrate", str(finished), "--images", str(2 * batch + 1)]) == 0
    assert f"has the statistics of {2 * batch} training images" in capsys.readouterr().out
    assert load(finished).meta["exact_statistics"] == 2 * batch
    assert main(["recalibrate", str(finished), "--undo"]) == 0


def test_bad_input(finished, config, capsys):
    with pytest.raises(InputError, match="before the fold"):
        recalibrated(load(finished).folded(), recipes.load(finished), images=8)
    few = recipes.load(finished).with_changes(batch_size=64)
    with pytest.raises(InputError, match="fewer than one batch of 64"):
        recalibrated(load(finished), few, images=8)
    assert main(["recalibrate", str(finished), "--images", "0"]) == 2
    assert main(["recalibrate", str(finished / "gone")]) == 2


def test_a_damaged_file_is_named(finished):
    path = finished / "checkpoints" / "4" / statistics.FILE
    path.write_bytes(b"no tensors")
    with pytest.raises(OSError, match=f"{statistics.FILE} cannot be read .* delete it"):
        load(finished)
    path.unlink()
    load(finished)
