"""How a run stands, from the files that it has written so far."""

import datetime
import json

import pytest

from tests.support.small_recipe import small_recipe, typed
from yolor_jax.cli.main import main
from yolor_jax.cli.watch import format_standing, sparkline
from yolor_jax.paths import user_path
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.watching import look

RECIPE = typed(small_recipe("shapes"))


@pytest.fixture
def run(tmp_path):
    """A run of four epochs, of which one is done in 30 seconds."""
    recipes.save(RECIPE.with_changes(epochs=4.0), tmp_path)
    rows = [
        {"step": 5, "epoch": 0.5, "loss/total": 3.0},
        {"step": 10, "epoch": 1.0, "loss/total": 1.0, "train_seconds": 30.0, "goodput": 0.5},
        {"step": 10, "eval/AP": 0.25},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_run_in_its_first_quarter(run):
    standing = look(user_path(run))
    assert (standing.share, standing.seconds_left, standing.finished) == (0.25, 90.0, False)
    assert standing.series("loss/total") == [3.0, 1.0]
    said = format_standing("csp", standing, standing.written + datetime.timedelta(seconds=7))
    assert "step 10, 25%, about 2 min left; last row 7 s ago" in said
    assert "loss/total      3  █▁     1" in said and "goodput 50.0%" in said


def test_a_run_at_its_end(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "epoch": 4.0, "train_seconds": 120.0}\n')
    assert not look(user_path(run)).finished, "the last step is not evaluated yet"
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "eval/AP": 0.5}\n{"step": 41, "cut o')
    assert look(user_path(run)).finished and look(user_path(run)).seconds_left == 0.0


def test_a_run_without_rows(tmp_path, capsys):
    recipes.save(RECIPE, tmp_path)
    standing = look(user_path(tmp_path))
    assert (standing.share, standing.seconds_left, standing.written) == (0.0, None, None)
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert "no row of metrics yet" in capsys.readouterr().out


def test_a_folder_without_a_run(tmp_path, capsys):
    assert main(["watch", str(tmp_path)]) == 2
    assert "expected the workdir of a training run" in capsys.readouterr().err
    recipes.save(RECIPE, tmp_path)
    assert main(["watch", str(tmp_path), "--every", "0"]) == 2
    assert "expected seconds above 0" in capsys.readouterr().err


def test_a_curve_in_one_line():
    assert sparkline([]) == ""
    assert sparkline([1.0]) == "▁"
    assert sparkline([0.0, 7.0, float("nan"), float("inf"), 3.5]) == "▁█▅"
    long = sparkline([float(i) for i in range(1000)])
    assert len(long) == 48 and long[-1] == "█"
