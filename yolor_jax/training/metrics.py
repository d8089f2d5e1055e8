"""Metrics as (sum, count), and where their values are written: one row per step that is recorded.

    sums = merge(sums, jax.device_get(step_metrics))
    row = compute(sums)  # {'loss/box': 0.05, ...}
    with JsonLines(workdir / "metrics.jsonl", keep_until=restored_step) as writer:
        writer.write(120, row)

The values of an evaluation come later than the other values of their step, as a line of their own;
whoever reads the file gets one row for each step. A run that continues from a checkpoint passes its
step as ``keep_until``: rows behind it, written by a run that was killed later, are dropped.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from yolor_jax.errors import InputError
from yolor_jax.whole_file import whole_file

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


class JsonLines:
    """A text file with one JSON object per line: ``{"step": 120, "loss/box": 0.05, ...}``.

    Read it with `read_json_lines`.
    """

    def __init__(self, path: str | os.PathLike, *, keep_until: int = 0):
        """Open the file for appending.

        Args:
            path: the file; its folder is created.
            keep_until: rows of later steps, and a last row that was cut off, are dropped.
        """
        self._path = pathlib.Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            kept = [row for row in read_json_lines(self._path) if row["step"] <= keep_until]
            with whole_file(self._path) as file:
                file.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row; it is in the file when this returns.

        Raises:
            OSError: if there is no room; names the file.
        """
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(f"cannot write to {self._path}: {error}") from error

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """All rows of a file of JSON lines, one for each step.

    Lines of one step that follow each other are one row. A last line that was cut off is left out.

    Raises:
        InputError: if any other line is not JSON, or no row with a step; names it.
    """
    lines = pathlib.Path(path).read_text().split("\n")
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
    """Event files for TensorBoard, written by tensorboardX."""

    def __init__(self, directory: str | os.PathLike, *, keep_until: int = 0):
        """Open the folder.

        Args:
            directory: the folder of event files.
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
        self._writer = tensorboardX.SummaryWriter(str(directory), purge_step=keep_until + 1)

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

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()
