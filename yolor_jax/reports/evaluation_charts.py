"""What an evaluation found, as charts for a page: curves, errors, confusion, sizes, scores.

    for chart in evaluation_charts(analysis, metrics):
        chart.title, chart.note, chart.svg

Each note says the IoU and the scores that its numbers are of.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from yolor_jax.evaluation.analysis import Analysis
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.error_kinds import KINDS
from yolor_jax.pictures.chart import INK, MUTED, PALETTE
from yolor_jax.reports.svg import Chart, page_chart

MOST_NAMES = 24  # classes whose names can be read beside a matrix
MOST_COUNTS = 11  # rows of a matrix whose counts can be read in it
BACKGROUND = "background"
TALL, HIGH = 330, 280  # pixels of charts with the classes below them, and of others
OPAQUE = 0.75  # of a full cell of a matrix, so that ink is read on it


def evaluation_charts(analysis: Analysis, metrics: Metrics) -> list[Chart]:
    """All but the confusion; what there is nothing to measure of is left out.

    Args:
        analysis: of its detections.
        metrics: its twelve numbers.
    """
    charts = [
        _precision_recall(analysis),
        _f1(analysis),
        _precision_and_recall_by_score(analysis),
        _errors(analysis),
        _sizes(metrics),
        _calibration(analysis),
        _histogram(analysis),
    ]
    return [chart for chart in charts if chart is not None]


def _precision_recall(analysis: Analysis) -> Chart | None:
    means = {iou: line for iou, line in analysis.mean_precisions.items() if line}
    if not means:
        return None
    title = "Precision over recall"
    with page_chart("precision-recall", title, height=TALL) as drawn:
        axes = drawn.axes
        _class_lines(axes, analysis, analysis.recalls, analysis.precisions)
        for (iou, line), style in zip(means.items(), ("-", "--", ":"), strict=False):
            label = f"IoU {iou}: {100 * np.mean(line):.1f} %"
            axes.plot(analysis.recalls, line, color=INK, linestyle=style, label=label)
        _shares(axes, "recall", "precision")
        _legend_below(axes)
    note = (
        f"Strong: means over classes; thin: each class at IoU {analysis.iou:g}. Precision is "
        "COCO's, at 101 recalls; its mean is the AP."
    )
    return Chart(title, note, drawn.svg)


def _f1(analysis: Analysis) -> Chart | None:
    if analysis.mean_f1_by_score is None:
        return None
    title = "F1 over score"
    best = np.interp(analysis.score, analysis.scores, analysis.mean_f1_by_score)
    with page_chart("f1", title, height=TALL) as drawn:
        axes = drawn.axes
        _class_lines(axes, analysis, analysis.scores, analysis.f1_by_score)
        axes.plot(analysis.scores, analysis.mean_f1_by_score, color=INK, label="mean")
        axes.axvline(analysis.score, color=MUTED, linestyle=":", linewidth=1.2)
        spot = dict(marker="o", markersize=6, linestyle="", color=INK)
        label = f"{100 * best:.1f} % at score {analysis.score:.2f}"
        axes.plot([analysis.score], [best], label=label, **spot)
        _shares(axes, "least score", "F1")
        _legend_below(axes)
    note = f"IoU {analysis.iou:g}. The dotted line is the operating point of this page."
    return Chart(title, note, drawn.svg)


def _precision_and_recall_by_score(analysis: Analysis) -> Chart | None:
    lines = {
        "precision": _mean(analysis.precision_by_score),
        "recall": _mean(analysis.recall_by_score),
    }
    if lines["recall"] is None:
        return None
    title = "Precision and recall over score"
    with page_chart("by-score", title, height=TALL) as drawn:
        axes = drawn.axes
        for name, line in lines.items():
            axes.plot(analysis.scores, line, label=name)
        axes.axvline(analysis.score, color=MUTED, linestyle=":", linewidth=1.2)
        _shares(axes, "least score", "share")
        _legend_below(axes)
    note = f"IoU {analysis.iou:g}, means over classes with objects."
    return Chart(title, note, drawn.svg)


def confusion_chart(analysis: Analysis) -> Chart:
    """The confusion matrix, with background."""
    title = "Confusion"
    counts = np.array(analysis.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    color = [int(PALETTE[0][i : i + 2], 16) / 255 for i in (1, 3, 5)]
    cells = np.dstack([np.broadcast_to(color, (*shares.shape, 3)), OPAQUE * shares])
    names = [*(one.name for one in analysis.classes), BACKGROUND]
    with page_chart("confusion", title, width=420, height=400) as drawn:
        axes = drawn.axes
        axes.imshow(cells, interpolation="none")
        axes.grid(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        small = min(10, 240 / len(names))
        if len(names) <= MOST_NAMES:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=small)
            axes.set_yticks(range(len(names)), names, fontsize=small)
        if len(names) <= MOST_COUNTS:
            for row, column in zip(*np.nonzero(counts), strict=True):
                text = f"{counts[row, column]:,}"
                axes.text(column, row, text, ha="center", va="center", fontsize=9)
    note = (
        f"Counts at score {analysis.score:.2f}, IoU {analysis.iou:g}; the shade is the share of "
        "the row."
    )
    return Chart(title, note, drawn.svg)


def confusions(analysis: Analysis, most: int = 8) -> list[tuple[str, str, int]]:
    """The most frequent ones of one class for another: true name, predicted name, count."""
    counts = np.array(analysis.confusion)[:-1, :-1]
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    names = [one.name for one in analysis.classes]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [(names[i], names[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def _errors(analysis: Analysis) -> Chart | None:
    names = [*reversed(KINDS)]
    deltas = [analysis.errors[name].delta_ap50 for name in names]
    if not any(delta is not None for delta in deltas):
        return None
    title = "What errors cost"
    with page_chart("errors", title, height=HIGH) as drawn:
        axes = drawn.axes
        widths = [100 * (delta or 0) for delta in deltas]
        bars = axes.barh(names, widths, height=0.7)
        labels = [
            f"{'-' if delta is None else f'{100 * delta:.1f}'}  ({analysis.errors[name].count:,})"
            for name, delta in zip(names, deltas, strict=True)
        ]
        axes.bar_label(bars, labels, fontsize=9.5, color=MUTED, padding=3)
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(1.0, *widths) * 1.45)
        axes.set_xlabel("points of AP50 by mending them (count)")
    note = (
        f"In the manner of TIDE, over all scores: an object is found at IoU {analysis.iou:g}, and "
        f"nothing is there below {analysis.background_iou:g}."
    )
    return Chart(title, note, drawn.svg)


def _sizes(metrics: Metrics) -> Chart | None:
    sizes = {"small": "s", "medium": "m", "large": "l"}
    kinds = [kind for kind in ("AP", "AR") if f"{kind}s" in metrics]
    if not kinds:
        return None
    title = "AP and AR by size"
    with page_chart("sizes", title, height=HIGH) as drawn:
        axes = drawn.axes
        for number, kind in enumerate(kinds):
            values = [metrics[f"{kind}{letter}"] for letter in sizes.values()]
            at = np.arange(len(sizes)) + 0.38 * (number - 0.5)
            bars = axes.bar(at, [100 * (value or 0) for value in values], width=0.36, label=kind)
            labels = ["none" if value is None else f"{100 * value:.1f}" for value in values]
            axes.bar_label(bars, labels, fontsize=9.5, color=MUTED, padding=2)
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set_ylim(0, 104)
        axes.set_ylabel("%")
        _legend_below(axes)
    note = (
        "IoU 0.50:0.95, 100 detections per image. Small: an area below 32² pixels; large: above "
        "96²."
    )
    return Chart(title, note, drawn.svg)


def _calibration(analysis: Analysis) -> Chart | None:
    calibration = analysis.calibration
    bins = [one for one in calibration.bins if one.count]
    if not bins:
        return None
    title = "Calibration"
    error = calibration.expected_calibration_error
    with page_chart("calibration", title, height=HIGH) as drawn:
        axes = drawn.axes
        left = [one.lower for one in bins]
        width = [one.upper - one.lower for one in bins]
        heights = [one.precision for one in bins]
        axes.bar(left, heights, width=np.multiply(width, 0.92), align="edge", label="detections")
        axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1.2, label="calibrated")
        axes.plot(
            [one.mean_score for one in bins], heights, "o", color=PALETTE[1], markersize=3.5,
            label="mean score",
        )  # fmt: skip
        _shares(axes, "score", "share that is right")
        _legend_below(axes)
    note = (
        f"Right: matched at IoU {analysis.iou:g}. Expected calibration error {100 * error:.1f} %, "
        f"over scores from {calibration.least_score:g}."
    )
    return Chart(title, note, drawn.svg)


def _histogram(analysis: Analysis) -> Chart | None:
    histogram = analysis.score_histogram
    if not sum(histogram.matched) + sum(histogram.unmatched):
        return None
    title = "Scores"
    with page_chart("scores", title, height=HIGH) as drawn:
        axes = drawn.axes
        for name in ("unmatched", "matched"):
            counts = getattr(histogram, name)
            color = PALETTE[0 if name == "matched" else 1]
            label = f"{name}: {sum(counts):,}"
            axes.stairs(counts, histogram.edges, fill=True, color=color, alpha=0.35, baseline=0.5)
            axes.stairs(counts, histogram.edges, color=color, label=label, baseline=0.5)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.minorticks_off()
        axes.set_xlim(0, 1)
        axes.set_xlabel("score")
        axes.set_ylabel("detections, logarithmic")
        _legend_below(axes)
    note = f"All detections; matched: of an object, at IoU {analysis.iou:g}."
    return Chart(title, note, drawn.svg)


def _class_lines(
    axes: Axes,
    analysis: Analysis,
    x: Sequence[float],
    lines: Sequence[Sequence[float | None] | None],
) -> None:
    """A thin line for each class that has one, with its name in the legend while there are few."""
    few = len(lines) <= len(PALETTE)
    for number, (one, line) in enumerate(zip(analysis.classes, lines, strict=True)):
        if line is None:
            continue
        color = PALETTE[number] if few else MUTED
        label = one.name if few else None
        axes.plot(x, line, color=color, alpha=0.9 if few else 0.35, linewidth=1, label=label)


def _legend_below(axes: Axes) -> None:
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=9.5, borderpad=0)


def _shares(axes: Axes, x_name: str, y_name: str) -> None:
    """Both axes go from nothing to all."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(x_name)
    axes.set_ylabel(y_name)


def _mean(lines: Sequence[Sequence[float | None] | None]) -> np.ndarray | None:
    """The mean over classes that have a line, at each score over those that have a number."""
    there = [line for line in lines if line is not None]
    if not there:
        return None
    values = np.array(there, float)  # None is NaN
    counted = np.isfinite(values)
    sums, counts = np.where(counted, values, 0).sum(axis=0), counted.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
