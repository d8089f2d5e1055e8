"""The course of a run as one picture: loss terms, what the evaluations gave, and the learning rate.

```python
draw_curves("curves.png", read_json_lines(workdir / "metrics.jsonl"))
```
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.pictures.chart import SHARP, chart, draw_lines
from yolor_jax.whole_file import whole_file

Rows = Sequence[Mapping[str, Any]]
Line = tuple[list[int], list[float | int]]

CHARTS = {
    "learning rate": ("learning_rate",),
    "average precision": ("eval/AP", "eval/AP50", "eval/AP75"),
}
"""Metrics of a chart by its title; each term of the loss has a chart of its own."""
WIDTH, HEIGHT = 480, 270  # pixels of a chart


def course(rows: Rows) -> dict[str, dict[str, Line]]:
    """What there is to draw of a run.

    Args:
        rows: values of metrics by name, and ``step``; a metric may be missing in some rows.

    Returns:
        By the title of a chart its lines, by name steps and values: each term of the loss, and
        `CHARTS`. Metrics that no row has are left out.
    """
    names = [*dict.fromkeys(name for row in rows for name in row)]
    charts = {name: (name,) for name in names if name.startswith("loss/")} | CHARTS
    return {
        title: {_short(name): line(rows, name) for name in group if name in names}
        for title, group in charts.items()
        if set(group) & set(names)
    }


def line(rows: Rows, name: str) -> Line:
    """Steps and values of the rows that have a metric."""
    having = [row for row in rows if name in row]
    return [row["step"] for row in having], [row[name] for row in having]


def draw_curves(path: str | os.PathLike, rows: Rows) -> None:
    """Draws `course`, two charts in a row.

    Args:
        path: of the picture; its ending decides the format.
        rows: at least one must have a metric that is drawn.

    Raises:
        InputError: no row has a metric that is drawn.
        OSError: it cannot be written.
    """
    charts = course(rows)
    if not charts:
        raise InputError(f"none of {len(rows)} rows has a loss, a learning rate or an AP to draw")
    height = math.ceil(len(charts) / 2)
    with chart(2 * WIDTH, height * HEIGHT) as figure:
        places = figure.subplots(height, 2, squeeze=False).ravel()
        for axes, (title, lines) in zip(places, charts.items(), strict=False):
            draw_lines(axes, lines)
            axes.set_title(title)
            axes.set_xlabel("steps")
        for axes in places[len(charts) :]:
            axes.set_visible(False)
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=SHARP)


def _short(name: str) -> str:
    return name.rpartition("/")[2]
