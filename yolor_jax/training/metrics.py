"""Metrics as (sum, count), and where their values are written: one row per step that is recorded.

    sums = merge(sums, jax.device_get(step_metrics))
    row = compute(sums)  # {'loss/box': 0.05, ...}
    with JsonLines(workdir / "metrics.jsonl", keep_until=restored_step) as writer:
        writer.write(120, row)

The values of an evaluation come later than the other values of their step, as a line of their own;
whoever reads the file gets one row for each step. A run that continues from a checkpoint passes its
step as ``keep_until``: rows behind it, written by a run that was killed later, are dropped.

Nothing can be appended to in a bucket. There a writer keeps a local file, and puts a copy of it now
and then, at the latest when it is flushed, as it must be before the checkpoint of its last row.
"""

import contextlib
import itertools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.paths import is_local, user_path
from yolor_jax.whole_file import whole_file

SECONDS_BETWEEN_COPIES = 30.0
"""Between copies to a bucket that nobody has asked for by a flush."""

LARGE = 8 << 20
"""Bytes of an event file from which on another is begun in a bucket, to put each byte a few times
at most."""

Sums = dict[str, tuple[float, float]]
"""Name -> (sum, count)."""


def merge(a: Mapping[str, tuple[Any, Any]], b: Mapping[str, tuple[Any, Any]]) -> Sums:
    """Add two dictionaries of (sum, count) name by name; a name that only one has is kept."""
    merged = {name: (float(total), float(count)) for name, (total, count) in a.items()}
    for name, (total, count) in b.items():
        old_total, old_count = merged.get(name, (0.0, 0.0))
        merged[name] = (old_total + float(total), old_count + float(count))
    return merged


def compute(sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The mean of each metric; NaN where nothing was counted."""
    return {name: total / count if count else float("nan") for name, (total, count) in sums.items()}


@runtime_checkable
class Writer(Protocol):
    """Takes one row of values per step."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of one step."""

    def flush(self) -> None:
        """Return when all that was recorded would survive the end of this process."""


class JsonLines:
    """A text file with one JSON object per line: ``{"step": 120, "loss/box": 0.05, ...}``.

    Read it with `read_json_lines`.
    """

    def __init__(self, path: str | os.PathLike, *, keep_until: int = 0):
        """Open the file for appending.

        Args:
            path: the file, local or in a bucket; its folder is created.
            keep_until: rows of later steps, and a last row that was cut off, are dropped.

        Raises:
            InputError: what is in the file are no rows.
            OSError: it cannot be read or written.
        """
        self._path = user_path(path)
        kept = []
        with contextlib.suppress(FileNotFoundError):
            kept = [row for row in read_json_lines(self._path) if row["step"] <= keep_until]
        self._folder = None if is_local(self._path) else tempfile.TemporaryDirectory()
        self._local = pathlib.Path(
            self._folder.name if self._folder else self._path.parent, self._path.name
        )
        self._local.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self._local) as file:
            file.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._local.open("a")
        self._copied = time.monotonic()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row; it is in the file, or the local one, when this returns.

        Raises:
            OSError: if there is no room; names the file.
        """
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(f"cannot write to {self._path}: {error}") from error
        if time.monotonic() > self._copied + SECONDS_BETWEEN_COPIES:
            with contextlib.suppress(OSError):  # the next flush says it, if it is so still
                self.flush()

    def flush(self) -> None:
        """Return when all rows are in the file.

        Raises:
            OSError: the bucket does not take them.
        """
        if self._folder:
            bucket.put(self._local, self._path)
            self._copied = time.monotonic()

    def rows(self) -> list[dict[str, Any]]:
        """All rows that the file has, or will have when it is flushed."""
        return read_json_lines(self._local)

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        self._file.close()
        # An error that is on its way may be that of the bucket, and has said its part.
        with contextlib.suppress(*() if kind is None else (OSError,)):
            self.flush()
        if self._folder:
            self._folder.cleanup()


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """All rows of a file of JSON lines, one for each step.

    Lines of one step that follow each other are one row. A last line that was cut off is left out.

    Raises:
        InputError: if any other line is not JSON, or no row with a step; names it.
        OSError: the file cannot be read.
    """
    path = user_path(path)
    with bucket.as_os_error(path):
        lines = path.read_text().split("\n")
    rows = []
    # Behind the last line break there is nothing, or what a killed writer left.
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number} is not JSON ({error}): repair or delete that file."
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise InputError(
                f"{path}, line {number} is no row of a training run, such as "
                f'{{"step": 120, "loss/box": 0.05}}: repair or delete that file.'
            )
        if rows and rows[-1]["step"] == row["step"]:
            rows[-1] |= row
        else:
            rows.append(row)
    return rows


class TensorBoard:
    """Event files for TensorBoard, written by tensorboardX.

    In a bucket they are put whole, and a new one is begun when one is larger than `LARGE`.
    """

    def __init__(self, directory: str | os.PathLike, *, keep_until: int = 0):
        """Open the folder.

        Args:
            directory: the folder of event files, local or in a bucket.
            keep_until: TensorBoard ignores rows of later steps that are there already.

        Raises:
            ImportError: if tensorboardX is not installed; names the extra.
        """
        try:
            import tensorboardX
        except ImportError as error:
            raise ImportError(
                "TensorBoard files are written by tensorboardX, which is not installed: "
                "pip install 'yolor-jax[report]', or switch TensorBoard off."
            ) from error
        self._directory = user_path(directory)
        self._folder = None if is_local(self._directory) else tempfile.TemporaryDirectory()
        self._local = pathlib.Path(self._folder.name if self._folder else self._directory)
        self._writer = tensorboardX.SummaryWriter(str(self._local), purge_step=keep_until + 1)
        self._files = itertools.count(1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def write_image(self, step: int, name: str, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Record an RGB picture."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Record how values are distributed."""
        self._writer.add_histogram(name, values, step)

    def flush(self) -> None:
        """Return when all that was recorded is in the files.

        Raises:
            OSError: the bucket does not take them.
        """
        self._writer.flush()
        if not self._folder:
            return
        [file] = self._local.iterdir()
        bucket.put(file, self._directory / file.name)
        if file.stat().st_size > LARGE:
            import tensorboardX

            self._writer.close()
            file.unlink()
            suffix = f".{next(self._files):06}"  # in their order, if two are of one second
            self._writer = tensorboardX.SummaryWriter(str(self._local), filename_suffix=suffix)

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        with contextlib.suppress(*() if kind is None else (OSError,)):
            self.flush()
        self._writer.close()
        if self._folder:
            self._folder.cleanup()
