"""What an evaluation says beyond the twelve numbers: by class, score, kind of error and image.

    metrics, curves = compare(source.ground_truth(), results)
    analysis = analyse(source.ground_truth(), results, curves=curves)
    path.write_text(json.dumps(to_json(analysis), allow_nan=False))

Everything rests on COCO's matches at IoU 0.5 (`matching.py`): crowds and what they excuse count
nowhere, and of the detections of a class in an image those with the 100 highest scores. "At the
operating point" means: of the detections with at least the score `Analysis.score`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.evaluation.average_precision import RECALLS
from yolor_jax.evaluation.calibration import (
    Bin,
    Calibration,
    ScoreHistogram,
    calibrate,
    histogram_of_scores,
)
from yolor_jax.evaluation.class_numbers import ClassNumbers, class_numbers, none_for_nan
from yolor_jax.evaluation.coco_curves import ALL, IOU_50, IOU_75, CocoCurves, coco_curves
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.confusion import confusion
from yolor_jax.evaluation.error_kinds import ErrorKind, error_kinds
from yolor_jax.evaluation.image_numbers import ImageNumbers, image_numbers
from yolor_jax.evaluation.matching import BACKGROUND_IOU, IOU, match
from yolor_jax.evaluation.original_metrics import OriginalMetrics, original_metrics
from yolor_jax.evaluation.score_curves import SCORES, score_curves


@dataclasses.dataclass(frozen=True)
class Analysis:
    """All of it, in plain lists, dicts and numbers; None where there is nothing to measure.

    Attributes:
        iou: from which on a detection is of an object: 0.5.
        background_iou: below which a detection is of nothing (`errors`): 0.1.
        score: the operating point: the lowest of `scores` at which `mean_f1_by_score` is highest,
            or the score that was asked for.
        classes: one of each category, in their order.
        recalls: R = 101 recalls, 0..1.
        precisions: K lists of R by COCO's interpolation, IoU 0.5; None for a class without objects.
        mean_precisions: R numbers over classes with objects, at IoU "0.5", "0.75" and "0.50:0.95";
            None where no class has objects.
        scores: S = 101 thresholds, 0..1.
        precision_by_score: K lists of S, of the detections of at least that score, IoU 0.5; None
            in a list where there are none, None for a class without objects.
        recall_by_score: likewise (never None in a list).
        f1_by_score: likewise: 2 TP / (2 TP + FP + FN).
        mean_f1_by_score: S numbers over classes with objects; None where no class has objects.
        confusion: K + 1 rows of K + 1 counts at the operating point, IoU 0.5; rows are true
            classes, columns predicted ones, the last is background. See `confusion.py`.
        errors: by the names in `error_kinds.KINDS` and `error_kinds.SPECIAL_KINDS`, of detections
            of all scores.
        calibration: whether a score is the chance of being right.
        score_histogram: how many detections have which score.
        images: the worst first (lowest F1, then most errors): all with objects, or with detections
            at the operating point.
        original: precision, recall, mAP and F1 as the original YOLOR computes them.
    """

    iou: float
    background_iou: float
    score: float
    classes: list[ClassNumbers]
    recalls: list[float]
    precisions: list[list[float] | None]
    mean_precisions: dict[str, list[float] | None]
    scores: list[float]
    precision_by_score: list[list[float | None] | None]
    recall_by_score: list[list[float] | None]
    f1_by_score: list[list[float] | None]
    mean_f1_by_score: list[float] | None
    confusion: list[list[int]]
    errors: dict[str, ErrorKind]
    calibration: Calibration
    score_histogram: ScoreHistogram
    images: list[ImageNumbers]
    original: OriginalMetrics


def analyse(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    score: float | None = None,
    curves: CocoCurves | None = None,
) -> Analysis:
    """Everything about these detections.

    Args:
        ground_truth: in COCO's format, see `coco.coco_metrics`; ``width`` and ``height`` of images
            are used where they are known (`original_metrics.py`).
        results: detections in COCO's format.
        score: the operating point; None for that of the highest mean F1.
        curves: COCO's, of these very detections, where they are known (`coco_curves.compare`); None
            has them compared once more.

    Raises:
        InputError: an image or category which the ground truth does not have.
        ImportError: faster-coco-eval is not installed.
    """
    coco = coco_curves(ground_truth, results) if curves is None else curves
    objects, detections = read_objects(ground_truth), read_detections(ground_truth, results)
    matches = match(objects, detections)
    count = len(ground_truth["categories"])
    by_score = score_curves(matches, SCORES, count)
    if score is None:
        score = float(SCORES[np.argmax(by_score.mean_f1)])
    at_score = score_curves(matches, np.array([score]), count)
    names = [category["name"] for category in ground_truth["categories"]]
    images = sorted(ground_truth["images"], key=lambda image: image["id"])
    sizes_wh = [(image.get("width", np.inf), image.get("height", np.inf)) for image in images]
    present = by_score.objects > 0

    def by_class(curves) -> list[list | None]:
        return [
            [none_for_nan(value) for value in row] if some else None
            for row, some in zip(curves, present, strict=True)
        ]

    return Analysis(
        iou=IOU,
        background_iou=BACKGROUND_IOU,
        score=score,
        classes=class_numbers(names, coco, matches, at_score),
        recalls=RECALLS.tolist(),
        precisions=by_class(coco.precision[IOU_50, :, :, ALL].T),
        mean_precisions=_mean_precisions(coco.precision[:, :, present, ALL]),
        scores=SCORES.tolist(),
        precision_by_score=by_class(by_score.precision),
        recall_by_score=by_class(by_score.recall),
        f1_by_score=by_class(by_score.f1),
        mean_f1_by_score=by_score.mean_f1.tolist() if present.any() else None,
        confusion=confusion(matches, score, count).tolist(),
        errors=error_kinds(matches, count),
        calibration=calibrate(matches),
        score_histogram=histogram_of_scores(matches),
        images=image_numbers([image["id"] for image in images], matches, score),
        original=original_metrics(
            objects, detections, np.array(sizes_wh, np.float64).reshape(-1, 2)
        ),
    )


def _mean_precisions(precision: np.ndarray) -> dict[str, list[float] | None]:
    """Means over classes of [10, R, classes with objects], by IoU."""
    parts = {"0.5": [IOU_50], "0.75": [IOU_75], "0.50:0.95": list(range(10))}
    some = precision.shape[2] > 0
    return {
        name: precision[ious].mean(axis=(0, 2)).tolist() if some else None
        for name, ious in parts.items()
    }


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Plain dicts, lists and numbers, for ``json.dump``."""
    return dataclasses.asdict(analysis)


def from_json(value: Mapping[str, Any]) -> Analysis:
    """The analysis that `to_json` made this of.

    Raises:
        InputError: it is not what this version writes.
    """
    try:
        calibration = value["calibration"]
        parts = {
            "classes": [ClassNumbers(**row) for row in value["classes"]],
            "errors": {name: ErrorKind(**kind) for name, kind in value["errors"].items()},
            "calibration": Calibration(
                **{**calibration, "bins": [Bin(**row) for row in calibration["bins"]]}
            ),
            "score_histogram": ScoreHistogram(**value["score_histogram"]),
            "images": [ImageNumbers(**row) for row in value["images"]],
            "original": OriginalMetrics(**value["original"]),
        }
        return Analysis(**{**value, **parts})
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"this is no analysis as this version of yolor writes it ({error}): evaluate again"
        ) from error
