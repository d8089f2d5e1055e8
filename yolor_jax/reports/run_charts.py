"""The course of a run, and what it learnt as implicit knowledge, as charts for a page."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolor_jax.models.implicits import distances, representations
from yolor_jax.nn.implicit import NEUTRAL
from yolor_jax.pictures.chart import draw_lines
from yolor_jax.pictures.curves import Line, course, line
from yolor_jax.pictures.implicit_figure import draw_representation, operation
from yolor_jax.reports.svg import Chart, chart_id, page_chart
from yolor_jax.runs.trained import Trained

TOTAL = "loss/total"
SPEED = "images_per_second"
PLACES = {
    r"head/.*/implicit_after": "Refinement, behind the predictions (iPR)",
    r"head/.*/implicit_before": "Alignment, before the predictions (iFA)",
    r"(neck/output|classify/|embed/).*": "Branches, at the entry of a task",
    r"neck/.*": "Pyramid, before its blocks",
}
"""The places of implicit knowledge, by the paths of their modules; the first that fits counts."""


def course_charts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Loss terms, what evaluations gave, learning rate and speed over the steps.

    Args:
        rows: of ``metrics.jsonl``.
    """
    charts = course(rows)
    if total := charts.pop(TOTAL, None):
        charts = {TOTAL: total} | charts
    if any(SPEED in row for row in rows):
        charts["images per second"] = {"images/s": line(rows, SPEED)}
    return [steps_chart(title, lines) for title, lines in charts.items()]


def steps_chart(title: str, lines: Mapping[str, Line]) -> Chart:
    """Lines over the steps; those of average precision in percent.

    Args:
        title: as `pictures.curves.course` has it.
        lines: by name, steps and values.
    """
    is_share = title.startswith(("AP", "average precision"))
    title = title.replace("loss/", "loss: ")
    with page_chart(chart_id("course", title), title) as drawn:
        axes = drawn.axes
        factor = 100 if is_share else 1
        draw_lines(axes, {n: (x, factor * np.array(y, float)) for n, (x, y) in lines.items()})
        axes.set_xlabel("steps")
        axes.set_ylabel("%" if is_share else "")
    return Chart(title, "", drawn.svg)


def drift_charts(drift: Mapping[str, Line]) -> list[Chart]:
    """How far each g(z) has moved over the steps, a chart for each place.

    Args:
        drift: by path of the module, steps and distances.
    """
    note = "Root mean squared distance of g(z) from the operator's neutral element."
    return _charts_by_place("drift", drift, note)


def rank_charts(ranks: Mapping[str, Line]) -> list[Chart]:
    """In how many directions the anchors' g(z) have moved over the steps, a chart for each place.

    Args:
        ranks: by path of the module, steps and effective ranks.
    """
    note = (
        "Effective rank of g(z) less the neutral element, a row for each anchor "
        "(Roy and Vetterli 2007): 1 where all anchors were taught the same."
    )
    return _charts_by_place("rank", ranks, note)


def _charts_by_place(kind: str, numbers: Mapping[str, Line], note: str) -> list[Chart]:
    """Lines over the steps from 0 up, a chart for each place."""
    places: dict[str, dict[str, Line]] = {}
    for path, values in numbers.items():
        places.setdefault(place_of(path), {})[short_path(path)] = values
    shown = []
    for place, lines in places.items():
        with page_chart(chart_id(kind, place), place) as drawn:
            draw_lines(drawn.axes, lines)
            drawn.axes.set_xlabel("steps")
            drawn.axes.set_ylim(0, 1.1 * max(max(values) for _, values in lines.values()))
        shown.append(Chart(place, note, drawn.svg))
    return shown


def implicit_charts(trained: Trained) -> dict[str, list[Chart]]:
    """Every g(z) of a network, by place (paper, figure 9).

    Args:
        trained: not folded.
    """
    spec, params = trained.spec, trained.variables["params"]
    moved = distances(spec, params)
    places: dict[str, list[Chart]] = {}
    for path, value in representations(spec, params).items():
        neutral = NEUTRAL[spec.knowledge_at(path).operator]
        with page_chart(chart_id("implicit", path), path, height=220) as drawn:
            draw_representation(drawn.axes, spec, path, np.asarray(value), trained.class_names)
        note = f"{operation(spec, path)}; moved {moved[path]:.3f} away from {neutral:g}"
        chart = Chart(short_path(path), note, drawn.svg)
        places.setdefault(place_of(path), []).append(chart)
    return places


def place_of(path: str) -> str:
    """Where an implicit module acts, in words."""
    return next(words for pattern, words in PLACES.items() if re.fullmatch(pattern, path))


def short_path(path: str) -> str:
    """The part of a path that tells modules of a place apart, such as ``level0``."""
    parts = path.split("/")[:-1]
    return "/".join(parts[1:] if len(parts) > 1 else parts)
