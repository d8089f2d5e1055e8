"""The training loop: steps, a row of metrics now and then, evaluations, checkpoints.

    with Checkpoints(workdir, meta) as checkpoints, JsonLines(path, keep_until=step) as writer:
        state = train(
            state, train_step=train_step, batches=train_batches(..., start=position),
            place=functools.partial(shard_batch, mesh), key=jax.random.key(seed), run=run,
            checkpoints=checkpoints, save_every=1000, position=position, writers=[writer],
            evaluate=evaluate, evaluate_every=run.steps_per_epoch,
        )  # fmt: skip

"Step n" is the state after n batches, in rows, checkpoints and messages alike. The device is a few
steps ahead of what has been looked at; before anything is saved, all of it has been.
"""

import collections
import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from yolor_jax.data.example import Batch
from yolor_jax.training import bad_batch
from yolor_jax.training import metrics as metrics_lib
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import TrainState
from yolor_jax.training.step import Metrics, TrainStep

STEPS_AHEAD = 2
"""Steps that may run on the device before the metrics of one are fetched."""

CLOCK_METRICS = ("images_per_second", "data_wait_share")
"""Measured by the clock: all that differs between the rows of two equal runs."""

NOTABLE_DATA_WAIT = 0.1
"""Share of the time spent waiting for data from which on the progress bar shows it."""


class _Pending(NamedTuple):
    """A step whose metrics have not been looked at."""

    step: int
    batch: Batch
    metrics: Metrics


def train(
    state: TrainState,
    *,
    train_step: TrainStep,
    batches: Iterator[Batch],
    place: Callable[[Batch], Batch],
    key: jax.Array,
    run: RunLength,
    checkpoints: Checkpoints,
    save_every: int,
    position: int = 0,
    writers: Sequence[metrics_lib.Writer] = (),
    log_every: int = 20,
    evaluate: Callable[[TrainState], dict[str, float] | None] | None = None,
    evaluate_every: int | None = None,
    image_id: Callable[[int], int] | None = None,
    bad_batches: pathlib.Path | None = None,
    progress: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Train from ``state.step`` to ``run.total_steps``, or until ``stop`` says so.

    Args:
        state: fresh or restored; donated.
        train_step: see ``make_train_step``.
        batches: host batches, beginning at the data position of ``state``.
        place: puts a host batch on the devices.
        key: the run's key; the same in each part of a run that was interrupted.
        run: batch size and length.
        checkpoints: where to save.
        save_every: steps between checkpoints; an evaluation and the end save one too.
        position: training examples consumed before.
        writers: take a row every ``log_every`` steps and at each checkpoint, with the means
            since the row before, and after an evaluation its values under ``eval/``.
        log_every: see there.
        evaluate: returns metrics of a state, ``AP`` among them, or None if it was cut short. The
            state has been saved before; one that was not evaluated to the end is evaluated when
            the run continues.
        evaluate_every: steps between evaluations; the end is evaluated too. Only the end if None.
        image_id: of a position in the split, to name the images of a bad batch.
        bad_batches: folder for the batch of a step whose loss is not finite (see `bad_batch`);
            None keeps none.
        progress: show a progress bar.
        stop: asked once a step and around an evaluation; when true, the step in flight is finished
            and saved, and training ends. Must agree among processes.

    Returns:
        The last state; its checkpoint may still be on its way to disk (see ``Checkpoints.wait``).

    Raises:
        FloatingPointError: if a loss term or the gradient is not finite; names step, terms, images.
        OSError: if a checkpoint or a row could not be written.
    """
    start = int(jax.device_get(state.step))

    def evaluates(step: int) -> bool:
        return evaluate is not None and (step == run.total_steps or _divides(evaluate_every, step))

    def score(step: int, state: TrainState) -> None:
        scores = evaluate(state)
        if scores is not None:
            _write(writers, step, {f"eval/{name}": value for name, value in scores.items()})
            checkpoints.score(step, scores)

    if evaluates(start) and checkpoints.latest_step == start and not checkpoints.is_scored(start):
        score(start, state)
    if stop():
        return state
    window = _Window(run.batch_size)
    pending = collections.deque()
    with tqdm.tqdm(
        total=run.total_steps, initial=start, disable=not progress, unit="step", dynamic_ncols=True
    ) as bar:
        for step in range(start + 1, run.total_steps + 1):
            with window.data_wait():
                batch = next(batches)
            state, step_metrics = train_step(state, place(batch), key)
            pending.append(_Pending(step, batch, step_metrics))
            checkpoints.check()
            stops = stop()
            saves = (
                step == run.total_steps or evaluates(step) or _divides(save_every, step) or stops
            )
            while len(pending) > (0 if saves else STEPS_AHEAD):
                entry = pending.popleft()
                values = metrics_lib.merge({}, jax.device_get(entry.metrics))
                if not all(np.isfinite(mean) for mean in metrics_lib.compute(values).values()):
                    raise _not_finite(entry, values, key, image_id, bad_batches, checkpoints)
                window.add(values)
                bar.update()
                bar.set_postfix(window.summary(), refresh=False)
                if _divides(log_every, entry.step) and not (saves and entry.step == step):
                    _write(writers, entry.step, window.close())
            if saves:
                _write(writers, step, window.close())
                seen = position + (step - start) * run.batch_size
                checkpoints.save(step, state, position=seen)
                if evaluates(step) and not stops:
                    score(step, state)
                window.restart_clock()
                if stops or stop():
                    break
    return state


class _Window:
    """The metrics and the time since the last row."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._sums: metrics_lib.Sums = {}
        self._images = 0
        self._clock = None
        self._waited = 0.0

    @contextlib.contextmanager
    def data_wait(self) -> Iterator[None]:
        """Counts the time of its body as time without data, while the clock runs."""
        started = time.monotonic()
        yield
        if self._clock is not None:
            self._waited += time.monotonic() - started

    def add(self, values: metrics_lib.Sums) -> None:
        """Take in a step. The first after a pause only starts the clock: it may have compiled."""
        self._sums = metrics_lib.merge(self._sums, values)
        if self._clock is None:
            self._clock = time.monotonic()
        else:
            self._images += self._batch_size

    def summary(self) -> dict[str, str]:
        """What the progress bar shows."""
        row = self._row()
        losses = {n.removeprefix("loss/"): row[n] for n in row if n.startswith("loss/")}
        shown = {name: f"{value:.4f}" for name, value in losses.items()}
        if "images_per_second" in row:
            shown["images/s"] = f"{row['images_per_second']:.1f}"
        if row.get("data_wait_share", 0.0) >= NOTABLE_DATA_WAIT:
            shown["data wait"] = f"{row['data_wait_share']:.0%}"
        return shown

    def close(self) -> dict[str, float]:
        """The row of this window; the next one begins."""
        row = self._row()
        self._sums, self._images, self._waited = {}, 0, 0.0
        self._clock = time.monotonic()
        return row

    def restart_clock(self) -> None:
        """Leave what happens until the next step out of images per second and data wait."""
        self._clock = None

    def _row(self) -> dict[str, float]:
        row = metrics_lib.compute(self._sums)
        elapsed = time.monotonic() - self._clock if self._clock is not None else 0.0
        if self._images and elapsed:
            row["images_per_second"] = self._images / elapsed
            row["data_wait_share"] = self._waited / elapsed
        return row


def _not_finite(
    entry: _Pending,
    values: metrics_lib.Sums,
    key: jax.Array,
    image_id: Callable[[int], int] | None,
    folder: pathlib.Path | None,
    checkpoints: Checkpoints,
) -> FloatingPointError:
    """What to say of a step that went wrong; its batch is kept if there is a folder for it."""
    means = metrics_lib.compute(values)
    terms = ", ".join(
        f"{name} {value:.6g}"
        for name, value in means.items()
        if name.startswith("loss/") or not np.isfinite(value)
    )
    indices = [int(i) for i in entry.batch.index]
    images = indices if image_id is None else [image_id(i) for i in indices]
    kind = "positions in the split" if image_id is None else "image ids"
    checkpoints.wait()
    good = checkpoints.latest_step
    rest = "There is no checkpoint" if good is None else f"The checkpoint of step {good} is intact"
    look = "Look at these images and their boxes"
    if folder is not None:
        words = np.asarray(jax.random.key_data(key))
        try:
            path = bad_batch.save(
                folder, bad_batch.BadBatch(entry.step, words, means, images, entry.batch)
            )
            look = f"To see which it was: yolor doctor --replay {path}. Look at its boxes"
        except OSError as error:
            look = f"The batch could not be kept ({error}). {look}"
    return FloatingPointError(
        f"training stopped at step {entry.step}, whose loss or gradient is not finite: {terms}. "
        f"The batch was ({kind}): {images}. {rest}. {look}, lower the learning rate, or train in "
        "float32."
    )


def _divides(interval: int | None, step: int) -> bool:
    return interval is not None and step % interval == 0


def _write(writers: Sequence[metrics_lib.Writer], step: int, row: dict[str, float]) -> None:
    for writer in writers:
        writer.write(step, row)
