"""The training loop: steps, a row of metrics now and then, evaluations, checkpoints.

    with Checkpoints(workdir, meta) as checkpoints, JsonLines(path, keep_until=step) as writer:
        state = train(
            state,
            make_advance(train_step, mesh, jax.random.key(seed)),
            batches=train_batches(..., start=position),
            run=run,
            every=Every(save=1000, evaluate=run.steps_per_epoch),
            checkpoints=checkpoints,
            writers=[writer],
            evaluate=evaluate,
        )

"Step n" is the state after n batches, in rows, checkpoints and messages alike.
"""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from yolor_jax.data.example import Batch
from yolor_jax.progress import progress as progress_bar
from yolor_jax.training import bad_batch
from yolor_jax.training import metrics as metrics_lib
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import TrainState
from yolor_jax.training.step import Advance, Metrics
from yolor_jax.training.window import Effort, History, Window

STEPS_AHEAD = 2
"""Steps that may run on the device before the metrics of one are fetched."""


@dataclasses.dataclass(frozen=True)
class Every:
    """How often the loop does what is not training, in steps.

    Attributes:
        save: steps between checkpoints; an evaluation, a stop and the end save one too.
        log: steps between rows of metrics; each checkpoint has a row too.
        evaluate: steps between evaluations; the end is evaluated too. None: only the end.
        give_up: steps since the best evaluation after which one that is no better is the end.
            None: there is no end but the last step.
    """

    save: int
    log: int = 20
    evaluate: int | None = None
    give_up: int | None = None


class _Pending(NamedTuple):
    """A step whose metrics have not been looked at."""

    step: int
    batch: Batch
    metrics: Metrics


def train(
    state: TrainState,
    advance: Advance,
    *,
    batches: Iterator[Batch],
    run: RunLength,
    every: Every,
    checkpoints: Checkpoints,
    writers: Sequence[metrics_lib.Writer] = (),
    evaluate: Callable[[TrainState], dict[str, float] | None] | None = None,
    keep: bad_batch.Keep = bad_batch.name_images,
    stop: Callable[[], bool] = lambda: False,
    effort: Effort | None = None,
    history: History | None = None,
    progress: bool = True,
) -> TrainState:
    """Train from ``state.step`` to ``run.total_steps``, or until ``stop`` or ``every`` ends it.

    Args:
        state: fresh or restored; donated.
        advance: ``(state, host_batch) -> (state, metrics)``, one step; see ``make_advance``.
        batches: host batches, beginning at the data position of ``state``.
        run: batch size and length.
        every: intervals between checkpoints, rows and evaluations.
        checkpoints: where to save.
        writers: take a row every ``every.log`` steps and at each checkpoint, with the means since
            the row before; after an evaluation its values under ``eval/``.
        evaluate: returns metrics of a state, or None if it was cut short. The
            state has been saved before; one that was not evaluated to the end is evaluated when
            the run continues.
        keep: takes step, metrics and batch of a step whose loss or gradient is not finite;
            returns words of advice, which end the error.
        stop: asked once a step and around an evaluation; when true, the step in flight is finished
            and saved, and training ends. Must agree among processes.
        effort: of a step, for MFU.
        history: of the run before ``state``, for goodput; None: it begins now.
        progress: show a progress bar.

    Returns:
        The last state; its checkpoint may still be on its way to disk (see ``Checkpoints.wait``).

    Raises:
        FloatingPointError: if a loss term or the gradient is not finite; names step, terms, images.
        OSError: if a checkpoint or a row could not be written.
    """
    start = int(jax.device_get(state.step))

    def evaluates(step: int) -> bool:
        return evaluate is not None and (step == run.total_steps or _divides(every.evaluate, step))

    def score(step: int, state: TrainState) -> None:
        started = time.monotonic()
        scores = evaluate(state)
        if scores is not None:
            row = {f"eval/{name}": value for name, value in scores.items()}
            _write(writers, step, row | {"evaluation_seconds": time.monotonic() - started})
            _flush(writers)
            checkpoints.score(step, scores)

    def gives_up(step: int) -> bool:
        best = checkpoints.best_step
        return every.give_up is not None and best is not None and step - best >= every.give_up

    # A run that ended in an evaluation left a checkpoint without scores. It is made up for before
    # the first step, so that the rows and the best checkpoint are those of a run that never ended.
    if evaluates(start) and checkpoints.latest_step == start and not checkpoints.is_scored(start):
        score(start, state)
    if stop() or gives_up(start):
        return state
    window = Window(run.batch_size, effort, history or History(time.time()))
    pending: collections.deque[_Pending] = collections.deque()
    with progress_bar(
        total=run.total_steps, initial=start, disable=not progress, unit="step"
    ) as bar:
        for step in range(start + 1, run.total_steps + 1):
            with window.data_wait():
                batch = next(batches)
            # This returns before the device has done anything. To look at the metrics of the same
            # step now would leave the device without work while the host reads the next batch.
            state, step_metrics = advance(state, batch)
            pending.append(_Pending(step, batch, step_metrics))
            # A write that failed in the background is heard of now, not hours later at the next.
            checkpoints.check()
            stops = stop()
            saves = (
                step == run.total_steps or evaluates(step) or _divides(every.save, step) or stops
            )
            # Nothing is saved that has not been looked at: the latest checkpoint is always finite.
            while len(pending) > (0 if saves else STEPS_AHEAD):
                entry = pending.popleft()
                values = metrics_lib.merge({}, jax.device_get(entry.metrics))
                if not all(np.isfinite(mean) for mean in metrics_lib.compute(values).values()):
                    raise _not_finite(entry, metrics_lib.compute(values), keep, checkpoints)
                window.add(values)
                bar.update()
                bar.set_postfix(window.summary(), refresh=False)
                # The row of a step that is saved is written below, with the checkpoint.
                if _divides(every.log, entry.step) and not (saves and entry.step == step):
                    _write(writers, entry.step, {"epoch": run.epoch(entry.step)} | window.close())
            # The order decides what a run continues with that is killed between any two lines.
            # The row comes before the checkpoint: rows behind the checkpoint that a run continues
            # from are dropped (``keep_until``), one that is missing before it would never come.
            # Scores come after the checkpoint that they belong to: whoever is killed in an
            # evaluation loses no step, and finds above that the scores are missing. Stopping comes
            # last, because an evaluation may take long enough for the signal to come in it.
            if saves:
                _write(writers, step, {"epoch": run.epoch(step)} | window.close())
                _flush(writers)
                # Every step takes one batch, so that the position in the data follows from it.
                with window.saving():
                    checkpoints.save(step, state, position=step * run.batch_size)
                if evaluates(step) and not stops:
                    score(step, state)
                window.restart_clock()
                if stops or stop() or gives_up(step):
                    break
    return state


def _not_finite(
    entry: _Pending, terms: dict[str, float], keep: bad_batch.Keep, checkpoints: Checkpoints
) -> FloatingPointError:
    """What to say of a step that went wrong."""
    shown = ", ".join(
        f"{name} {value:.6g}"
        for name, value in terms.items()
        if name.startswith("loss/") or not np.isfinite(value)
    )
    checkpoints.wait()  # or a checkpoint would be promised that is not on disk yet
    good = checkpoints.latest_step
    rest = "There is no checkpoint" if good is None else f"The checkpoint of step {good} is intact"
    return FloatingPointError(
        f"training stopped at step {entry.step}, whose loss or gradient is not finite: {shown}. "
        f"{rest}. {keep(entry.step, terms, entry.batch)}"
    )


def _divides(interval: int | None, step: int) -> bool:
    return interval is not None and step % interval == 0


def _write(writers: Sequence[metrics_lib.Writer], step: int, row: dict[str, float]) -> None:
    for writer in writers:
        writer.write(step, row)


def _flush(writers: Sequence[metrics_lib.Writer]) -> None:
    for writer in writers:
        writer.flush()
