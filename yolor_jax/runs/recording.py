"""What is recorded of a training run beside its rows: curves, trackers, pictures, a trace.

```python
rows = JsonLines(workdir / "metrics.jsonl", keep_until=step)
others, board = writers(run, rows, step, starts)
```
"""

import contextlib
import datetime
import hashlib
from collections.abc import Sequence
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.progress import Say
from yolor_jax.runs import programs
from yolor_jax.runs.board import Board
from yolor_jax.runs.curves import Curves
from yolor_jax.runs.run import Run
from yolor_jax.stamp import Stamp
from yolor_jax.training.metrics import JsonLines, TensorBoard
from yolor_jax.training.programs.peak import peak_flops
from yolor_jax.training.step import Advance
from yolor_jax.training.trace import traced, traced_steps
from yolor_jax.training.trackers.experiment import Experiment, open_tracker
from yolor_jax.training.window import Effort, History


def writers(
    run: Run, rows: JsonLines, step: int, starts: Sequence[Stamp]
) -> tuple[list[Any], Board | None]:
    """Where metrics go beside the rows, and the board; what is behind the step goes.

    Args:
        run: that trains.
        rows: take each row before these do: the curves are drawn from them.
        step: that the run continues at.
        starts: its stamps, by the first of which trackers know it again.
    """
    others: list[Any] = [Curves(rows, run.workdir / "curves.png")]
    for name in run.recipe.trackers:
        identity = hashlib.sha256(f"{run.workdir} {starts[0]['time']}".encode()).hexdigest()[:12]
        settings = run.recipe.to_dict()
        others.append(
            open_tracker(name, Experiment(run.workdir.name, identity, run.workdir, settings))
        )
    if not run.recipe.tensorboard:
        return others, None
    tensorboard = TensorBoard(run.workdir / "tensorboard", keep_until=step)
    board = Board(tensorboard, run.sources.evaluation, run.module.spec)
    return [*others, tensorboard], board


def history(starts: Sequence[Stamp], rows: JsonLines) -> History:
    """When a run began, and the seconds that went into the steps it goes on from."""
    begun = datetime.datetime.fromisoformat(starts[0]["time"]).timestamp()
    counted = [row["train_seconds"] for row in rows.rows() if "train_seconds" in row]
    return History(begun, counted[-1] if counted else 0.0)


def effort(run: Run) -> Effort | None:
    """What a step takes, where it is known what the devices can do."""
    device = run.mesh.devices.flat[0]
    peak = peak_flops(device.device_kind, bfloat16=run.recipe.bfloat16)
    if peak is None:
        return None
    return Effort(programs.step_flops(run.recipe, run.module), peak * run.mesh.size)


def traced_in(
    run: Run, advance: Advance, start: int, say: Say
) -> contextlib.AbstractContextManager[Advance]:
    """The steps of a run, with a trace of those that the recipe names.

    Raises:
        InputError: the run ends before.
    """
    steps = traced_steps(run.recipe.profile)
    if steps.last > run.length.total_steps:
        raise InputError(
            f"--config.profile is {run.recipe.profile!r}, and the run ends at step "
            f"{run.length.total_steps:,}; expected steps before"
        )
    return traced(advance, start, steps, run.workdir / "profile", say)
