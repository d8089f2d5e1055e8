"""Runs that are killed at chosen and at random moments, beside one that never is."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests.support import compiling
from tests.support.local_bucket import ask
from yolor_jax.paths import Path, is_local
from yolor_jax.training import metrics
from yolor_jax.training.window import CLOCK_METRICS

LAST = 20
EVALUATED = [6, 12, 18, 20]
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Runs:
    """Starts runs that share one data set.

    Args:
        folder: of the data set.
        place: of the workdirs, on a disk or in a bucket.
    """

    def __init__(self, folder: pathlib.Path, place: Path):
        self.folder = folder
        self.place = place
        # Quick to compile rather than quick to run; one device and no shape checking.
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": compiling.QUICKLY,
            "JAX_NUMPY_DTYPE_PROMOTION": "strict",
            "JAX_NUMPY_RANK_PROMOTION": "raise",
        }

    def start(self, workdir: str, *arguments: str) -> subprocess.Popen:
        script = str(ROOT / "tests" / "support" / "resume_run.py")
        command = [sys.executable, script, self.folder / "data", self.place / workdir, *arguments]
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
        if place == "save":
            [unfinished] = _unfinished(self.place / workdir / "checkpoints")
            assert unfinished.partition(".")[0] == str(step)

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

    def kill_at_request(self, number: int, workdir: str) -> set[str]:
        """Let the bucket kill a run at such a request among its checkpoints."""
        process = self.start(workdir)
        ask(f"kill?pid={process.pid}&at={number}")
        return self.under_way(workdir, process)

    def under_way(self, workdir: str, process: subprocess.Popen) -> set[str]:
        """What a run was at when it was killed; nothing if it had ended by itself."""
        _, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors
        if process.returncode == 0:
            return set()
        at = {"checkpoint"} if _unfinished(self.place / workdir / "checkpoints") else {"training"}
        rows = self.rows(workdir)
        if rows and rows[-1]["step"] in EVALUATED and "eval/AP" not in rows[-1]:
            at |= {"evaluation"}
        return at

    def rows(self, workdir: str) -> list[dict]:
        path = self.place / workdir / "metrics.jsonl"
        rows = metrics.read_json_lines(path) if path.exists() else []
        return [{k: v for k, v in row.items() if k not in CLOCK_METRICS} for row in rows]


def _unfinished(checkpoints: Path) -> list[str]:
    """Names of what is not a checkpoint yet; in a bucket, or one no more."""
    if not checkpoints.exists():
        return []
    if is_local(checkpoints):
        return [path.name for path in checkpoints.iterdir() if "tmp" in path.name]
    return [p.name for p in checkpoints.iterdir() if not (p / "commit_success.txt").exists()]


def final_state(workdir: Path) -> dict:
    """All that the last checkpoint holds, without the programs of its run."""
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(workdir / "checkpoints" / str(LAST) / "state")
    return jax.tree.map(np.asarray, state)


def kill_at_ten_random_moments(runs, kill, numbers, seconds):
    """Five by the clock, five by `kill`, of a run that goes on and ends like the whole one.

    Args:
        runs: of a test.
        kill: kills a run at the moment of a number, of its second argument's name.
        numbers: from and to which those of the moments are drawn.
        seconds: at most, of the clock.
    """
    rng = np.random.default_rng(20)
    moments = []
    for after, number in zip(rng.uniform(0.0, seconds, 5), rng.integers(*numbers, 5), strict=True):
        moments.append(kill(number, "random"))
        moments.append(runs.kill_after(after, "random"))
    runs.finish("random")
    assert sum("checkpoint" in moment for moment in moments) >= 3, moments
    assert moments.count(set()) <= 3, moments
    require_equal(runs, "random")


def require_equal(runs: Runs, workdir: str) -> None:
    """The same rows, and parameters, statistics, averages and optimiser to the bit."""
    if runs.whole.returncode is None:
        runs.finish("whole", runs.whole)
    rows = runs.rows("whole")
    assert [row["step"] for row in rows] == list(range(1, LAST + 1))
    assert [row["step"] for row in rows if "eval/AP" in row] == EVALUATED
    assert rows == runs.rows(workdir)
    whole, parts = (final_state(runs.place / name) for name in ("whole", workdir))
    assert {"params", "batch_stats", "ema_params", "ema_batch_stats", "opt_state"} <= whole.keys()
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
    kept = (
        {p.name for p in (runs.place / n / "checkpoints").iterdir()} for n in ("whole", workdir)
    )
    assert next(kept) == next(kept)
