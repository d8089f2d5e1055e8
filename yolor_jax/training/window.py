"""The metrics and the clock between two rows: speed, waiting, utilisation, goodput.

```python
window = Window(batch_size=8, effort=Effort(flops=2.4e9, peak=1e14), history=History(start))
with window.data_wait():
    batch = next(batches)
window.add(values)          # of each step, as it ends
writer.write(step, window.close())
```
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import jax
import numpy as np

from yolor_jax.training import metrics as metrics_lib

CLOCK_METRICS = (
    "images_per_second",
    "data_wait_share",
    "step_seconds",
    "step_seconds_p95",
    "mfu",
    "train_seconds",
    "goodput",
    "device_bytes",
    "checkpoint_seconds",
    "evaluation_seconds",
)
"""Measured by the clock, or of the machine: all that differs between the rows of two equal runs."""

NOTABLE_DATA_WAIT = 0.1
"""Share of the time spent waiting for data from which on the progress bar shows it."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """What a step takes, for MFU.

    Attributes:
        flops: of a step, over all devices.
        peak: FLOPs per second of all devices together, by their data sheets.
    """

    flops: float
    peak: float


@dataclasses.dataclass(frozen=True)
class History:
    """What a run has behind it, for goodput.

    Attributes:
        start: of its first attempt, in seconds since the epoch.
        train_seconds: that went into the steps which the run goes on from.
    """

    start: float
    train_seconds: float = 0.0


class Window:
    """The metrics and the time since the last row."""

    def __init__(self, batch_size: int, effort: Effort | None, history: History):
        """Begins without a clock: the first step may compile.

        Args:
            batch_size: images of a step.
            effort: None where the peak of the devices is not known.
            history: of the run.
        """
        self._batch_size = batch_size
        self._effort = effort
        self._history = history
        self._train_seconds = history.train_seconds
        self._sums: metrics_lib.Sums = {}
        self._last: float | None = None  # when the last step ended; None after a pause
        self._seconds: list[float] = []  # of each step
        self._waited = 0.0
        self._saving = 0.0

    @contextlib.contextmanager
    def data_wait(self) -> Iterator[None]:
        """Counts the time of its body as time without data, while the clock runs."""
        started = time.monotonic()
        yield
        if self._last is not None:
            self._waited += time.monotonic() - started

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Counts the time of its body as time that a checkpoint took from training."""
        started = time.monotonic()
        yield
        self._saving += time.monotonic() - started

    def add(self, values: metrics_lib.Sums) -> None:
        """Takes in a step. The first after a pause only starts the clock: it may have compiled."""
        self._sums = metrics_lib.merge(self._sums, values)
        now = time.monotonic()
        if self._last is not None:
            self._seconds.append(now - self._last)
            self._train_seconds += now - self._last
        self._last = now

    def summary(self) -> dict[str, str]:
        """What the progress bar shows."""
        row = metrics_lib.compute(self._sums) | self._speed()
        losses = {n.removeprefix("loss/"): row[n] for n in row if n.startswith("loss/")}
        shown = {name: f"{value:.4f}" for name, value in losses.items()}
        if "images_per_second" in row:
            shown["images/s"] = f"{row['images_per_second']:.1f}"
        if row.get("data_wait_share", 0.0) >= NOTABLE_DATA_WAIT:
            shown["data wait"] = f"{row['data_wait_share']:.0%}"
        return shown

    def close(self) -> dict[str, float]:
        """The row of this window; the next one begins.

        Returns:
            The mean of each metric; and where steps were timed, ``images_per_second``,
            ``data_wait_share`` (0..1), ``step_seconds`` (median) and ``step_seconds_p95``,
            ``train_seconds`` (in steps that count, since the run began) and ``goodput`` (their
            share of the time since then), ``mfu`` (0..1), ``device_bytes`` (in use at most, on one
            device) and ``checkpoint_seconds``, as far as they are known.
        """
        row = metrics_lib.compute(self._sums) | self._speed()
        if self._seconds:
            row["step_seconds"] = float(np.median(self._seconds))
            row["step_seconds_p95"] = float(np.percentile(self._seconds, 95))
            row["train_seconds"] = self._train_seconds
            if (since := time.time() - self._history.start) > 0:
                row["goodput"] = self._train_seconds / since
            if self._effort is not None:
                steps_per_second = len(self._seconds) / sum(self._seconds)
                row["mfu"] = self._effort.flops * steps_per_second / self._effort.peak
        if self._saving:
            row["checkpoint_seconds"] = self._saving
        if in_use := (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use"):
            row["device_bytes"] = float(in_use)
        self._sums, self._seconds, self._waited, self._saving = {}, [], 0.0, 0.0
        return row

    def restart_clock(self) -> None:
        """Leaves what happens until the next step out of all times."""
        self._last = None

    def _speed(self) -> dict[str, float]:
        elapsed = sum(self._seconds)
        if not elapsed:
            return {}
        return {
            "images_per_second": self._batch_size * len(self._seconds) / elapsed,
            "data_wait_share": self._waited / elapsed,
        }
