"""What an ablation gave, for a page: its table, differences with their errors, AP over the epochs.

```python
result = read(user_path("runs/table4"))
contents(result, user_path("runs/table4"))      # all that the template ``ablation.html`` shows
```
"""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from yolor_jax import bucket
from yolor_jax.ablation import result as results
from yolor_jax.ablation.result import FILE, Result, Row
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.pictures.chart import INK, PALETTE, chart
from yolor_jax.reports.svg import Chart, page_chart
from yolor_jax.whole_file import whole_file

PICTURE = "ap_over_epochs.svg"
WIDTH, HEIGHT = 720, 360  # pixels


def read(folder: Path) -> Result | None:
    """The result in a folder; None if there is none.

    Raises:
        InputError: it is damaged.
        OSError: it cannot be read.
    """
    path = folder / FILE
    try:
        with bucket.as_os_error(path):
            return results.from_json(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged; give yolor ablate again, which writes it") from error


def contents(result: Result, folder: Path) -> dict[str, Any]:
    """All that the template ``ablation.html`` shows."""
    compared = [row for row in result.rows if row.difference is not None]
    return {
        "title": f"Ablation {result.table}",
        "folder": folder,
        "result": result,
        "effect": results.EFFECT,
        "charts": [*([differences(compared, result.baseline)] if compared else []), course(result)],
        "doubts": [],
    }


def differences(rows: Sequence[Row], baseline: str) -> Chart:
    """A dot for each row with its standard error, the pairs beside it (paper, tables 1 to 6)."""
    title = f"Difference from {baseline}"
    with page_chart("differences", title, width=WIDTH, height=80 + 28 * len(rows)) as drawn:
        axes = drawn.axes
        for place, row in enumerate(reversed(rows)):
            found = row.difference
            axes.errorbar(found.mean, place, xerr=found.error, fmt="o", color=PALETTE[0], capsize=4)
            if row.paper_difference is not None:
                axes.plot(row.paper_difference, place, "|", color=PALETTE[1], markersize=12)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
        axes.set_xlabel("points of AP")
    note = "By pairs of one seed: mean and standard error. Upright: the paper's, of one run."
    return Chart(title, note, drawn.svg)


def course(result: Result) -> Chart:
    """AP over the epochs, with and without implicit knowledge (paper, figure 11)."""
    title = "AP over the epochs"
    with page_chart("course", title, width=WIDTH, height=HEIGHT) as drawn:
        _draw_course(drawn.axes, result)
    return Chart(title, "The mean over the seeds of each row.", drawn.svg)


def write_chart(result: Result, folder: Path) -> Path:
    """Writes `course` as a picture of its own; returns the file."""
    with chart(WIDTH, HEIGHT) as figure, whole_file(folder / PICTURE) as file:
        _draw_course(figure.subplots(), result)
        figure.savefig(file, format="svg", metadata={"Date": None})
    return folder / PICTURE


def _draw_course(axes: Axes, result: Result) -> None:
    """A line for each row; that of the baseline dashed, dotted where the colours begin anew."""
    others = [row.name for row in result.rows if row.name != result.baseline]
    for row in result.rows:
        style, color = "--", INK
        if row.name in others:
            again, number = divmod(others.index(row.name), len(PALETTE))
            style, color = (":" if again else "-"), PALETTE[number]
        epochs, ap = row.course
        if len(ap):
            axes.plot(epochs, ap, style, color=color, marker="o", markersize=3, label=row.name)
    axes.set_xlabel("epochs")
    axes.set_ylabel("AP in percent")
    axes.figure.legend(loc="outside right upper")
