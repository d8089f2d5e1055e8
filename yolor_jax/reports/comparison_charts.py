"""Several runs or evaluations in one chart: numbers with error bars, kinds of error, courses."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from yolor_jax.evaluation.error_kinds import KINDS
from yolor_jax.pictures.chart import INK, PALETTE
from yolor_jax.pictures.curves import line
from yolor_jax.reports.gather import Subject
from yolor_jax.reports.run_charts import steps_chart
from yolor_jax.reports.seeds import Group, spread
from yolor_jax.reports.svg import Chart, page_chart

NUMBERS = ("AP", "AP50", "AP75")
COURSES = {"AP": "eval/AP", "AP50": "eval/AP50", "loss/total": "loss/total",
           "learning rate": "learning_rate"}  # fmt: skip
"""Metrics that are drawn over the steps, by the title of the chart."""
HEIGHT = 280  # pixels
ROOM = 0.8  # of the distance between two sets of bars


def numbers_and_errors(
    subjects: Sequence[Subject], names: Sequence[str], groups: Sequence[Group]
) -> list[Chart]:
    """AP with error bars over seeds, and what each kind of error costs.

    Args:
        subjects: at least one with an evaluation, or there are no charts.
        names: of each.
        groups: of those that differ by their seed alone.
    """
    if not any(one.evaluation for one in subjects):
        return []
    return [_numbers(subjects, groups), _errors(subjects, names)]


def courses(subjects: Sequence[Subject], names: Sequence[str]) -> list[Chart]:
    """Metrics over the steps, a line for each run."""
    charts = []
    for title, metric in COURSES.items():
        lines = {n: line(one.rows, metric) for n, one in zip(names, subjects, strict=True)}
        if not any(steps for steps, _ in lines.values()):
            continue
        charts.append(steps_chart(title, lines))
    return charts


def _numbers(subjects: Sequence[Subject], groups: Sequence[Group]) -> Chart:
    """A bar for each group and number; of several seeds the mean, its deviation, and each seed."""
    title = "AP by COCO's protocol"
    several = any(len(group.subjects) > 1 for group in groups)
    with page_chart("numbers", title, height=HEIGHT) as drawn:
        axes = drawn.axes
        width = ROOM / len(groups)
        for number, group in enumerate(groups):
            at = _places(number, len(groups), len(NUMBERS))
            metrics = [one.evaluation.metrics for one in group.subjects if one.evaluation]
            values = [[one[name] for one in metrics] for name in NUMBERS]
            spreads = [spread(some) for some in values]
            means = [100 * one.mean if one else 0 for one in spreads]
            color = _color(subjects.index(group.subjects[0]))
            axes.bar(at, means, width=0.9 * width, color=color, label=group.name)
            if len(group.subjects) > 1:
                deviations = [100 * (one.deviation or 0) if one else 0 for one in spreads]
                axes.errorbar(at, means, deviations, color=INK, linestyle="", capsize=4)
                for x, some in zip(at, values, strict=True):
                    there = [100 * value for value in some if value is not None]
                    axes.plot([x] * len(there), there, ".", color=INK, alpha=0.6, markersize=4)
        axes.set_ylim(0, 100)
        _finish(axes, NUMBERS, "%")
    note = "IoU 0.50:0.95, 0.50 and 0.75; 100 detections per image."
    if several:
        note += " Bars: mean over seeds; whiskers: standard deviation (n - 1); dots: each seed."
    return Chart(title, note, drawn.svg)


def _errors(subjects: Sequence[Subject], names: Sequence[str]) -> Chart:
    title = "What errors cost"
    with page_chart("errors", title, height=HEIGHT) as drawn:
        axes = drawn.axes
        for number, (name, one) in enumerate(zip(names, subjects, strict=True)):
            if one.evaluation is None:
                continue
            errors = one.evaluation.analysis.errors
            costs = [100 * (errors[kind].delta_ap50 or 0) for kind in KINDS]
            at = _places(number, len(subjects), len(KINDS))
            width = 0.9 * ROOM / len(subjects)
            axes.bar(at, costs, width=width, color=_color(number), label=name)
        kinds = [kind[:9] + "." if len(kind) > 10 else kind for kind in KINDS]
        _finish(axes, kinds, "points of AP50")
    note = "The AP50 that mending a kind of error gives, in the manner of TIDE; over all scores."
    return Chart(title, note, drawn.svg)


def _places(number: int, of: int, sets: int) -> np.ndarray:
    """Where the bars of one of so many stand in each set."""
    return np.arange(sets) + (number - (of - 1) / 2) * ROOM / of


def _finish(axes: Axes, names: Sequence[str], unit: str) -> None:
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set_ylabel(unit)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=9.5, borderpad=0)


def _color(number: int) -> str:
    """Of a subject; a group has that of its first."""
    return PALETTE[number % len(PALETTE)]
