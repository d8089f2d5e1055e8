"""``yolor bench train``: a measurement from end to end, and its arithmetic."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.bench import training
from yolor_jax.cli.bench import train
from yolor_jax.cli.main import main
from yolor_jax.models.detector import build
from yolor_jax.models.summary import summarize
from yolor_jax.preparation import shapes

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "configs" / "quickstart.py")
FIGURES = {
    "model": "m", "image_size": 64, "batch_size": 8, "dtype": "bfloat16", "device": "d",
    "devices": 4, "steps": 5, "images_per_second": 1234.56, "data_wait_share": 0.125,
    "flops_per_step": 3e9, "matrix_flops_per_second": 2e12, "mfu": 0.321,
    "memory_bytes": 2**31, "peak_bytes_in_use": None, "compile_seconds": 7.0,
}  # fmt: skip


def test_the_peak_is_positive_and_counts_all_products(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr(training.time, "perf_counter", lambda: float(next(ticks)))
    assert training.matrix_flops_per_second(jnp.float32, side=16) == training.PRODUCTS * 2 * 16**3


def test_utilisation_by_hand():
    """30 GFLOP in 2 s on 4 devices of 10 GFLOP/s: 15 of 40."""
    assert training.utilisation(30e9, 2.0, 10e9, 4) == pytest.approx(0.375)


class Clock:
    """Time that passes only where it is said to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_the_warm_up_does_not_count_and_waiting_is_for_batches_alone(monkeypatch):
    """A slow start; then each batch takes 2 s and each step 3."""
    clock, made = Clock(), []
    monkeypatch.setattr(training.time, "perf_counter", clock)

    def batches():
        while True:
            clock.now += 100.0 if len(made) < training.WARM_UP else 2.0
            made.append(tiny_run.make_batch(8, seed=len(made)))
            yield made[-1]

    def advance(state, batch):
        clock.now += 500.0 if state < training.WARM_UP else 3.0
        np.testing.assert_array_equal(batch.index, made[-1].index)
        return state + 1, {"loss": state}

    seconds, waited = training._time_steps(advance, 0, batches(), 4, False)
    assert (seconds, waited) == (4 * (2.0 + 3.0), 4 * 2.0)
    assert len(made) == training.WARM_UP + 4


def test_the_table():
    text = train.format_figures(FIGURES)
    assert text.startswith("m, 64 pixels, batches of 8, bfloat16, on 4 x d; 5 steps\n")
    for line in ("1,234.6", "12.5% of the time", "3.00 GFLOP", "2.000 TFLOP/s", "32.1%"):
        assert line in text
    assert "2.0 GiB, on each device" in text
    assert "1.0 GiB in use at most" in train.format_figures(FIGURES | {"peak_bytes_in_use": 2**30})


def test_wrong_input(capsys):
    assert main(["bench", "train", "--config", RECIPE, "--steps", "0"]) == 2
    assert "--steps is 0; expected at least 1" in capsys.readouterr().err
    assert main(["bench", "train", "--config", RECIPE, "--config.data.path=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.long
def test_a_measurement(tmp_path, capsys):
    data = shapes.prepare(tmp_path, sizes={"train": 40, "validation": 10}, progress=False)
    settings = ["--config.model.name=yolor_test", "--config.image_size=64"]
    settings += ["--config.batch_size=32", "--config.augment.group=4"]
    settings += [f"--config.data.path={data}", "--steps", "3"]
    file = tmp_path / "bench.json"
    assert main(["bench", "train", "--config", RECIPE, *settings, "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["devices"] == 8 and figures["steps"] == 3
    seconds = 3 * 32 / figures["images_per_second"]
    work = figures["flops_per_step"] * 3 / seconds
    assert figures["mfu"] == pytest.approx(work / (8 * figures["matrix_flops_per_second"]))
    assert 0 <= figures["data_wait_share"] < 1
    forward = summarize(build("yolor_test", 6), (64, 64)).total.flops  # of convolutions
    assert 2.5 < figures["flops_per_step"] / 32 / forward < 4.0
    assert "images/s" in capsys.readouterr().out
