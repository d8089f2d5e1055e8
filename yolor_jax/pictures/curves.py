"""The course of a run as one picture: loss terms, what the evaluations gave, and the learning rate.

picture = draw_curves(read_json_lines(workdir / "metrics.jsonl"))
save_image("curves.png", picture)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from yolor_jax.pictures.chart import line_chart
from yolor_jax.pictures.drawing import contact_sheet

CHARTS = {
    "learning rate": ("learning_rate",),
    "average precision": ("eval/AP", "eval/AP50", "eval/AP75"),
}
"""Metrics of a chart by its title; each term of the loss has a chart of its own."""


def draw_curves(rows: Sequence[Mapping[str, Any]]) -> UInt8[np.ndarray, "h w 3"]:
    """A chart for each term of the loss, and those of `CHARTS`, over the steps.

    Args:
        rows: values of metrics by name, and ``step``; a metric may be missing in some rows. At
            least one row must have a metric that is drawn.

    Returns:
        RGB, two charts in a row.

    Raises:
        InputError: no row has a metric that is drawn.
    """
    names = [*dict.fromkeys(name for row in rows for name in row)]
    charts = {name: (name,) for name in names if name.startswith("loss/")} | CHARTS
    pictures = [
        line_chart({_short(name): _line(rows, name) for name in group}, title=title, x_name="steps")
        for title, group in charts.items()
        if set(group) & set(names)
    ]
    return contact_sheet(pictures, columns=2, cell=None)


def _line(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float | int]]:
    """Steps and values of the rows that have a metric."""
    having = [row for row in rows if name in row]
    return [row["step"] for row in having], [row[name] for row in having]


def _short(name: str) -> str:
    return name.rpartition("/")[2]
