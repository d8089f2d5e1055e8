"""An evaluation beyond the twelve numbers, for the terminal; each table says threshold and IoU."""

from yolor_jax.evaluation.analysis import Analysis
from yolor_jax.evaluation.error_kinds import KINDS
from yolor_jax.table import text_table

MOST_CLASSES = 20
"""Classes of which a table is printed; of more, the record has them."""


def analysis_text(analysis: Analysis) -> str:
    """By class, by kind of error, and the original's own numbers."""
    parts = [error_table(analysis), original_line(analysis)]
    if len(analysis.classes) <= MOST_CLASSES:
        parts.insert(0, class_table(analysis))
    return "\n\n".join(parts)


def class_table(analysis: Analysis) -> str:
    """The numbers of each class."""
    rows = [("by class", "objects", "AP", "AP50", "AR100", "precision", "recall", "F1")]
    for one in analysis.classes:
        numbers = (one.ap, one.ap50, one.ar100, one.precision, one.recall, one.f1)
        rows.append((one.name, f"{one.objects:,}", *map(_percent, numbers)))
    return (
        f"{text_table(rows)}\nprecision, recall and F1: IoU {analysis.iou}, scores from "
        f"{analysis.score:.2f} on, where the mean F1 is highest"
    )


def error_table(analysis: Analysis) -> str:
    """What mending the errors of each kind would bring."""
    rows = [("kind of error", "count", "AP50 + if mended")]
    for name in KINDS:
        kind = analysis.errors[name]
        rows.append((name, f"{kind.count:,}", _percent(kind.delta_ap50)))
    return (
        f"{text_table(rows)}\nof all detections, as TIDE counts them: right from IoU "
        f"{analysis.iou} on, background below {analysis.background_iou}"
    )


def original_line(analysis: Analysis) -> str:
    """The original's numbers, which are not COCO's."""
    own = analysis.original
    numbers = {
        "precision": own.precision,
        "recall": own.recall,
        "F1": own.f1,
        "mAP at IoU 0.5": own.map50,
        "mAP at 0.5:0.95": own.map,
    }
    said = ", ".join(f"{name} {_percent(value)}" for name, value in numbers.items())
    return f"as the original YOLOR counts (not COCO's; precision, recall, F1: score 0.1): {said}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
