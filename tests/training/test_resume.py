"""A run killed in the middle of training and of a checkpoint goes on as if nothing had happened."""

import pytest

from tests.support.killed_runs import Runs, kill_at_ten_random_moments, require_equal

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs beside one that is never killed, which is awaited where it is compared with."""
    folder = tmp_path_factory.mktemp("runs")
    runs = Runs(folder, folder)
    runs.whole = runs.start("whole")
    yield runs
    if runs.whole.poll() is None:
        runs.whole.kill()
        runs.whole.wait()


def test_killed_in_training_a_checkpoint_and_an_evaluation(runs):
    runs.kill_at("row", 8, "parts")
    runs.kill_at("evaluation", 12, "parts")
    runs.kill_at("save", 15, "parts")
    runs.finish("parts")
    require_equal(runs, "parts")


def test_killed_again_and_again(runs):
    for step in (1, 4, 5, 6, 9, 10, 11):
        runs.kill_at("row", step, "again")
    runs.kill_at("score", 12, "again")
    runs.kill_at("evaluation", 18, "again")
    runs.kill_at("save", 20, "again")
    runs.finish("again")
    require_equal(runs, "again")


def test_killed_at_ten_random_moments(runs):
    """Five of them at a file operation of a checkpoint."""
    kill_at_ten_random_moments(runs, runs.kill_at_operation, numbers=(1, 100), seconds=0.2)
