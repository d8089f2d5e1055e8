"""A run whose workdir is in a bucket, killed and started again, ends as one that never was."""

import numpy as np
import pytest

from tests.support import local_bucket
from tests.support.killed_runs import Runs, require_equal
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
    """Five by the clock, five at a request for something in a checkpoint, of a run that goes on."""
    rng = np.random.default_rng(20)
    moments = []
    for seconds, number in zip(rng.uniform(0.0, 0.5, 5), rng.integers(20, 160, 5), strict=True):
        moments.append(runs.kill_at_request(number, "random"))
        moments.append(runs.kill_after(seconds, "random"))
    runs.finish("random")
    assert sum("checkpoint" in moment for moment in moments) >= 3, moments
    assert moments.count(set()) <= 3, moments
    require_equal(runs, "random")
