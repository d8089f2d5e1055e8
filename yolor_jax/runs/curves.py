"""The course of a run as one picture: loss terms, what the evaluations gave, and the learning rate.

    writers = [JsonLines(path), Curves(path, workdir / "curves.png")]

It is drawn from the rows on disk, so a run that was continued has one curve.
"""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from yolor_jax.pictures.chart import line_chart
from yolor_jax.pictures.drawing import contact_sheet, save_image
from yolor_jax.training.metrics import read_json_lines

CHARTS = {
    "learning rate": ("learning_rate",),
    "average precision": ("eval/AP", "eval/AP50", "eval/AP75"),
}
"""Metrics of a chart by its title; each term of the loss has a chart of its own."""


class Curves(contextlib.AbstractContextManager):
    """A writer of metrics that draws all rows whenever an evaluation comes."""

    def __init__(self, rows: pathlib.Path, picture: pathlib.Path):
        """Draws nothing yet.

        Args:
            rows: the file of JSON lines; its own writer must take each row first.
            picture: where to draw.
        """
        self._rows = rows
        self._picture = picture

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Draw, if these are the values of an evaluation."""
        if any(name.startswith("eval/") for name in values):
            draw(self._picture, read_json_lines(self._rows))

    def __exit__(self, *_) -> None:
        """Nothing is open."""


def draw(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draws the curves of a run.

    Args:
        path: of the picture; it appears whole.
        rows: of ``read_json_lines``.
    """
    names = [*dict.fromkeys(name for row in rows for name in row)]
    charts = {name: (name,) for name in names if name.startswith("loss/")} | CHARTS
    pictures = [
        line_chart({_short(name): _line(rows, name) for name in group}, title=title, x_name="steps")
        for title, group in charts.items()
        if set(group) & set(names)
    ]
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    save_image(part, contact_sheet(pictures, columns=2, cell=None))
    part.replace(path)


def _line(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float | int]]:
    """Steps and values of the rows that have a metric."""
    having = [row for row in rows if name in row]
    return [row["step"] for row in having], [row[name] for row in having]


def _short(name: str) -> str:
    return name.rpartition("/")[2]
