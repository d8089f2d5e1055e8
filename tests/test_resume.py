"""A run killed in the middle of training and of a checkpoint goes on as if nothing had happened."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from yolor_jax.training import loop, metrics

LAST = 20
ROOT = pathlib.Path(__file__).resolve().parents[1]


class Runs:
    """Starts runs that share one data set and one compilation cache."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        # Quick to compile rather than quick to run; one device and no shape checking.
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
            "JAX_NUMPY_DTYPE_PROMOTION": "strict",
            "JAX_NUMPY_RANK_PROMOTION": "raise",
        }

    def start(self, workdir: str, *arguments: str) -> subprocess.Popen:
        script = str(pathlib.Path(__file__).with_name("resume_run.py"))
        command = [sys.executable, script, self.folder / "data", self.folder / workdir, *arguments]
        return subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def finish(self, workdir: str, process: subprocess.Popen | None = None) -> None:
        process = process or self.start(workdir)
        _, errors = process.communicate()
        assert process.returncode == 0, errors

    def kill_in_training(self, workdir: str, step: int) -> None:
        """Let a run record a step, and kill it."""
        process = self.start(workdir)
        while last_step(self.folder / workdir) < step:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL

    def kill_at(self, place: str, step: int, workdir: str) -> None:
        """Kill a run at a place of its code (see resume_run.py)."""
        process = self.start(workdir, place, str(step))
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
        names = {p.name for p in (self.folder / workdir / "checkpoints").iterdir()}
        if place == "save":
            assert str(step) not in names
            assert any(name.startswith(f"{step}.") for name in names), names

    def kill_after(self, seconds: float, workdir: str) -> None:
        """Kill a run so long after its first sign of life: a row of its own."""
        path = self.folder / workdir / "metrics.jsonl"
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = self.start(workdir)
        while not path.exists() or path.stat().st_mtime_ns == before:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.005)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        assert process.wait() in (-signal.SIGKILL, 0)

    def rows(self, workdir: str) -> list[dict]:
        rows = metrics.read_json_lines(self.folder / workdir / "metrics.jsonl")
        return [{k: v for k, v in row.items() if k not in loop.CLOCK_METRICS} for row in rows]


def last_step(workdir: pathlib.Path) -> int:
    path = workdir / "metrics.jsonl"
    rows = metrics.read_json_lines(path) if path.exists() else []
    return rows[-1]["step"] if rows else 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs beside one that is never killed, which is awaited where it is compared with."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    runs.whole = runs.start("whole")
    yield runs
    if runs.whole.poll() is None:
        runs.whole.kill()
        runs.whole.wait()


def final_state(workdir: pathlib.Path) -> dict:
    """All that the last checkpoint holds, without the programs of its run."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(workdir / "checkpoints" / str(LAST) / "state")
    return jax.tree.map(np.asarray, state)


def require_equal(runs: Runs, workdir: str) -> None:
    """The same rows, and parameters, statistics, averages and optimiser to the bit."""
    if runs.whole.returncode is None:
        runs.finish("whole", runs.whole)
    rows = runs.rows("whole")
    assert [row["step"] for row in rows] == list(range(1, LAST + 1))
    assert [row["step"] for row in rows if "eval/AP" in row] == [6, 12, 18, 20]
    assert rows == runs.rows(workdir)
    whole, parts = (final_state(runs.folder / name) for name in ("whole", workdir))
    assert {"params", "batch_stats", "ema_params", "ema_batch_stats", "opt_state"} <= whole.keys()
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    kept = (
        {p.name for p in (runs.folder / n / "checkpoints").iterdir()} for n in ("whole", workdir)
    )
    assert next(kept) == next(kept)


def test_killed_in_training_a_checkpoint_and_an_evaluation(runs):
    runs.kill_in_training("parts", 8)
    runs.kill_at("evaluation", 12, "parts")
    runs.kill_at("save", 15, "parts")
    runs.finish("parts")
    require_equal(runs, "parts")


@pytest.mark.long
@pytest.mark.parametrize("steps", [(1,), (4, 5, 6, 9, 10, 11)])
def test_killed_again_and_again(runs, steps):
    workdir = "-".join(map(str, steps))
    for step in steps:
        runs.kill_in_training(workdir, step)
    runs.kill_at("score", 12, workdir)
    runs.kill_at("evaluation", 18, workdir)
    runs.kill_at("save", 20, workdir)
    runs.finish(workdir)
    require_equal(runs, workdir)


@pytest.mark.long
def test_killed_at_ten_random_moments(runs):
    """Anywhere in training, checkpoints and evaluations, also of a run that is continued."""
    rng = np.random.default_rng(20)
    for seconds in rng.uniform(0.0, 0.6, 10):
        runs.kill_after(seconds, "random")
    runs.finish("random")
    require_equal(runs, "random")
