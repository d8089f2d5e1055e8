"""The clock between two rows, with a clock that is told what time it is."""

import numpy as np
import pytest

from yolor_jax.training import window as windows
from yolor_jax.training.programs.peak import peak_flops
from yolor_jax.training.window import CLOCK_METRICS, Effort, History, Window

VALUES = {"loss/box": (2.0, 1.0)}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved; the run began 100 s before."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(windows.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(windows.time, "time", lambda: Clock.now)
    return Clock


def test_a_row_tells_speed_waiting_utilisation_and_goodput(clock):
    window = Window(8, Effort(flops=10.0, peak=40.0), History(start=900.0, train_seconds=30.0))
    window.add(VALUES)  # starts the clock
    for seconds in (1.0, 1.0, 1.0, 5.0):
        with window.data_wait():
            clock.now += seconds / 4
        clock.now += seconds * 3 / 4
        window.add(VALUES)
    with window.saving():
        clock.now += 2.0
    row = window.close()
    assert row["loss/box"] == 2.0
    assert row["images_per_second"] == 8 * 4 / 8.0
    assert row["data_wait_share"] == 0.25
    assert row["step_seconds"] == 1.0
    assert row["step_seconds_p95"] == np.percentile([1, 1, 1, 5], 95)
    assert row["mfu"] == 10.0 * 4 / 8.0 / 40.0
    assert row["train_seconds"] == 38.0
    assert row["goodput"] == 38.0 / 110.0
    assert row["checkpoint_seconds"] == 2.0
    assert row.keys() - {"loss/box"} <= set(CLOCK_METRICS)


def test_a_pause_counts_for_no_step(clock):
    window = Window(8, None, History(900.0))
    window.add(VALUES)
    clock.now += 1.0
    window.add(VALUES)
    window.restart_clock()
    clock.now += 50.0  # an evaluation
    window.add(VALUES)
    clock.now += 3.0
    window.add(VALUES)
    row = window.close()
    assert (row["step_seconds"], row["train_seconds"]) == (2.0, 4.0)
    assert "mfu" not in row
    assert window.close() == {}, "of a window without steps there is nothing to tell"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("NVIDIA H100 PCIe", 989e12),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device(kind, expected):
    assert peak_flops(kind, bfloat16=True) == expected
    assert peak_flops(kind, bfloat16=False) is None
