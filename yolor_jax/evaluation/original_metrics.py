"""Precision, recall, mAP and F1 as the original YOLOR computes them: not COCO's numbers.

    original_metrics(read_objects(ground_truth), read_detections(ground_truth, results), sizes_wh)

They differ from COCO's in the match (each detection goes for its best object only, and loses if
that is taken; the IoU must be above the threshold; a crowd is nothing), in the integral (trapezia
between 101 recalls, from precision 1 at recall 0 to precision 0 at recall 1), and in taking
precision, recall and F1 at the fixed confidence 0.1. Detections are clipped to their image first.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from yolor_jax.evaluation.columns import Detections, Objects
from yolor_jax.evaluation.matching import nearest, overlapping

IOUS = np.linspace(0.5, 0.95, 10, dtype=np.float32)
CONFIDENCE = 0.1
TINY = 1e-16


@dataclasses.dataclass(frozen=True)
class OriginalMetrics:
    """The original's own numbers, means over classes with objects; None where no class has any.

    Attributes:
        precision: at confidence 0.1, IoU 0.5.
        recall: at confidence 0.1, IoU 0.5.
        f1: of the two, by class, at confidence 0.1, IoU 0.5.
        map50: the mean of AP at IoU 0.5.
        map: the mean of AP over IoU 0.50:0.95.
        fitness: 0.1 map50 + 0.9 map, by which the original chooses its best checkpoint.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    map50: float | None
    map: float | None
    fitness: float | None


def original_metrics(
    objects: Objects, detections: Detections, sizes_wh: Float[np.ndarray, "images 2"]
) -> OriginalMetrics:
    """All of them.

    Args:
        objects: of the split; crowds are left out, as in the original's label files.
        detections: all of them.
        sizes_wh: width and height of each image in pixels; infinite where unknown.
    """
    objects = Objects(*(column[~objects.crowd] for column in objects))
    classes = np.unique(objects.label)
    if not len(classes):
        return OriginalMetrics(*[None] * 6)
    correct = matched(objects, _clipped(detections, sizes_wh))
    rows = []
    for label in classes:
        own = detections.label == label
        count = int((objects.label == label).sum())
        rows.append(of_class(correct[own], detections.score[own], count))
    precision, recall, f1, ap = (np.array(column) for column in zip(*rows, strict=True))
    map50, mean = float(ap[:, 0].mean()), float(ap.mean())
    return OriginalMetrics(
        float(precision.mean()), float(recall.mean()), float(f1.mean()), map50, mean,
        0.1 * map50 + 0.9 * mean,
    )  # fmt: skip


def matched(objects: Objects, detections: Detections) -> Bool[np.ndarray, "D 10"]:
    """Whether each detection is of an object, at each of the `IOUS`.

    Args:
        objects: without crowds.
        detections: clipped to their images.
    """
    pairs = overlapping(detections, objects, 0.5)
    same = detections.label[pairs.detection] == objects.label[pairs.object]
    iou, number = nearest(pairs.where(same & (pairs.iou > 0.5)), len(detections.label))
    claims = np.flatnonzero(number >= 0)
    first = claims[np.unique(number[claims], return_index=True)[1]]
    correct = np.zeros((len(iou), len(IOUS)), bool)
    correct[first] = iou[first, None] > IOUS
    return correct


def of_class(
    correct: Bool[np.ndarray, "n 10"], confidence: Float[np.ndarray, " n"], objects: int
) -> tuple[float, float, float, Float[np.ndarray, " 10"]]:
    """Precision, recall, F1 and the ten APs of one class.

    Args:
        correct: see `matched`, by falling confidence.
        confidence: falling.
        objects: how many there are; at least one.
    """
    if not len(confidence):
        return 0.0, 0.0, 0.0, np.zeros(len(IOUS))
    true = np.cumsum(correct, axis=0)  # [n, 10]
    recall = true / (objects + TINY)
    precision = true / np.arange(1, len(true) + 1)[:, None]
    p, r = (
        float(np.interp(-CONFIDENCE, -confidence, curve[:, 0])) for curve in (precision, recall)
    )
    ap = np.array([area(recall[:, j], precision[:, j]) for j in range(len(IOUS))])
    return p, r, 2 * p * r / (p + r + TINY), ap


def area(recall: Float[np.ndarray, " n"], precision: Float[np.ndarray, " n"]) -> float:
    """Below the envelope of a curve, by trapezia between 101 recalls."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[1.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    grid = np.linspace(0, 1, 101)
    return float(np.trapezoid(np.interp(grid, recall, envelope), grid))


def _clipped(detections: Detections, sizes_wh: Float[np.ndarray, "images 2"]) -> Detections:
    """The detections with boxes inside their images."""
    low, sides = detections.boxes_xywh[:, :2], detections.boxes_xywh[:, 2:]
    most = sizes_wh[detections.image]
    upper, lower = (np.clip(corner, 0, most) for corner in (low + sides, low))
    return detections._replace(boxes_xywh=np.concatenate([lower, upper - lower], axis=1))
