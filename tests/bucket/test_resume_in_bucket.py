"""A run whose workdir is in a bucket, killed and started again, ends as one that never was."""

import pytest

from tests.support import local_bucket
from tests.support.killed_runs import Runs, kill_at_ten_random_moments, require_equal
from yolor_jax.paths import user_path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs beside one that is never killed, which is awaited where it is compared with."""
    runs = Runs(tmp_path_factory.mktemp("data"), user_path(f"{local_bucket.BUCKET}/runs"))
    runs.whole = runs.start("whole")
    yield runs
    if runs.whole.poll() is None:
        runs.whole.kill()
        runs.whole.wait()


@pytest.mark.long
def test_killed_in_training_and_in_a_checkpoint(runs):
    runs.kill_at("row", 8, "parts")
    runs.kill_at("save", 12, "parts")
    runs.finish("parts")
    require_equal(runs, "parts")


@pytest.mark.long
def test_killed_at_ten_random_moments(runs):
    """Five of them at a request for something in a checkpoint."""
    kill_at_ten_random_moments(runs, runs.kill_at_request, numbers=(20, 160), seconds=0.3)
