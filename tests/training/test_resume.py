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

from tests.support import compiling
from yolor_jax.training import loop, metrics

pytestmark = pytest.mark.long

LAST = 20
EVALUATED = [6, 12, 18, 20]
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Runs:
    """Starts runs that share one data set."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        # Quick to compile rather than quick to run; one device and no shape checking.
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": compiling.QUICKLY,
            "JAX_NUMPY_DTYPE_PROMOTION": "strict",
            "JAX_NUMPY_RANK_PROMOTION": "raise",
        }

    def start(self, workdir: str, *arguments: str) -> subprocess.Popen:
        script = str(ROOT / "tests" / "support" / "resume_run.py")
        command = [sys.executable, script, self.folder / "data", self.folder / workdir, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **pipes)

    def finish(self, workdir: str, process: subprocess.Popen | None = None) -> None:
        process = process or self.start(workdir)
        _, errors = process.communicate()
        assert process.returncode == 0, errors

    def kill_at(self, place: str, step: int, workdir: str) -> None:
        """Kill a run at a place of its code (see resume_run.py)."""
        process = self.start(workdir, place, str(step))
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
        names = {p.name for p in (self.folder / workdir / "checkpoints").iterdir()}
        if place == "save":
            assert str(step) not in names
            assert any(name.startswith(f"{step}.") for name in names), names

    def kill_after(self, seconds: float, workdir: str) -> set[str]:
        """Kill a run so long after it has recorded its first step; what was under way then."""
        process = self.start(workdir)
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        return self.under_way(workdir, process)

    def kill_at_operation(self, number: int, workdir: str) -> set[str]:
        """Kill a run at a file operation among its checkpoints; what was under way then."""
        return self.under_way(workdir, self.start(workdir, "operation", str(number)))

    def under_way(self, workdir: str, process: subprocess.Popen) -> set[str]:
        """What a run was at when it was killed; nothing if it had ended by itself."""
        _, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors
        if process.returncode == 0:
            return set()
        names = [path.name for path in (self.folder / workdir / "checkpoints").iterdir()]
        at = {"checkpoint"} if any("tmp" in name for name in names) else {"training"}
        row = self.rows(workdir)[-1]
        return at | ({"evaluation"} if row["step"] in EVALUATED and "eval/AP" not in row else set())

    def rows(self, workdir: str) -> list[dict]:
        rows = metrics.read_json_lines(self.folder / workdir / "metrics.jsonl")
        return [{k: v for k, v in row.items() if k not in loop.CLOCK_METRICS} for row in rows]


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
    assert [row["step"] for row in rows if "eval/AP" in row] == EVALUATED
    assert rows == runs.rows(workdir)
    whole, parts = (final_state(runs.folder / name) for name in ("whole", workdir))
    assert {"params", "batch_stats", "ema_params", "ema_batch_stats", "opt_state"} <= whole.keys()
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    kept = (
        {p.name for p in (runs.folder / n / "checkpoints").iterdir()} for n in ("whole", workdir)
    )
    assert next(kept) == next(kept)


def test_killed_in_training_a_checkpoint_and_an_evaluation(runs):
    runs.kill_at("row", 8, "parts")
    runs.kill_at("evaluation", 12, "parts")
    runs.kill_at("save", 15, "parts")
    runs.finish("parts")
    require_equal(runs, "parts")


@pytest.mark.parametrize("steps", [(1,), (4, 5, 6, 9, 10, 11)])
def test_killed_again_and_again(runs, steps):
    workdir = "-".join(map(str, steps))
    for step in steps:
        runs.kill_at("row", step, workdir)
    runs.kill_at("score", 12, workdir)
    runs.kill_at("evaluation", 18, workdir)
    runs.kill_at("save", 20, workdir)
    runs.finish(workdir)
    require_equal(runs, workdir)


def test_killed_at_ten_random_moments(runs):
    """Five by the clock, five at a file operation of a checkpoint, of a run that goes on."""
    rng = np.random.default_rng(20)
    moments = []
    for seconds, number in zip(rng.uniform(0.0, 0.3, 5), rng.integers(1, 130, 5), strict=True):
        moments.append(runs.kill_at_operation(number, "random"))
        moments.append(runs.kill_after(seconds, "random"))
    runs.finish("random")
    assert sum("checkpoint" in moment for moment in moments) >= 3, moments
    assert moments.count(set()) <= 3, moments
    require_equal(runs, "random")
