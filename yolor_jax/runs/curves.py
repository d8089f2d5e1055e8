"""The course of a run as a picture in its workdir, drawn anew after each evaluation.

    rows = JsonLines(path)
    writers = [rows, Curves(rows, workdir / "curves.png")]

It is drawn from the rows on disk, so a run that was continued has one curve.
"""

import contextlib
from collections.abc import Mapping

from yolor_jax.paths import Path
from yolor_jax.pictures.curves import draw_curves
from yolor_jax.training.metrics import JsonLines


class Curves(contextlib.AbstractContextManager):
    """A writer of metrics that draws all rows whenever an evaluation comes."""

    def __init__(self, rows: JsonLines, picture: Path):
        """Draws nothing yet.

        Args:
            rows: another writer, which must take each row first.
            picture: where to draw.
        """
        self._rows = rows
        self._picture = picture

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Draw, if these are the values of an evaluation."""
        if any(name.startswith("eval/") for name in values):
            draw_curves(self._picture, self._rows.rows())

    def flush(self) -> None:
        """What was drawn is there."""

    def __exit__(self, *_) -> None:
        """Nothing is open."""
