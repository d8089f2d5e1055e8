"""What an evaluation says beyond the twelve numbers: by class, score, kind of error and image.

    analysis = analyse(source.ground_truth(), results)
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
from yolor_jax.evaluation.coco_curves import (
    ALL,
    IOU_50,
    IOU_75,
    LARGE,
    MEDIUM,
    SMALL,
    CocoCurves,
    coco_curves,
)
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.confusion import confusion
from yolor_jax.evaluation.error_kinds import ErrorKind, error_kinds
from yolor_jax.evaluation.matching import BACKGROUND_IOU, IOU, Matches, match
from yolor_jax.evaluation.original_metrics import OriginalMetrics, original_metrics
from yolor_jax.evaluation.score_curves import SCORES, ScoreCurves, score_curves


@dataclasses.dataclass(frozen=True)
class ClassNumbers:
    """The numbers of one class; all but the counts are None where it has no objects.

    Attributes:
        name: of the category.
        objects: how many there are, without crowds.
        images: how many images have one.
        ap: over IoU 0.50:0.95, by COCO's protocol, as the next six.
        ap50: at IoU 0.5.
        ap75: at IoU 0.75.
        ar100: the recall with 100 detections per image, over IoU 0.50:0.95.
        ap_small: of objects below 32^2 pixels; None where there are none, as the next two.
        ap_medium: between the two.
        ap_large: above 96^2 pixels.
        precision: at the operating point, IoU 0.5; None too where there are no detections.
        recall: at the operating point, IoU 0.5.
        f1: at the operating point, IoU 0.5.
    """

    name: str
    objects: int
    images: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    ar100: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclasses.dataclass(frozen=True)
class ImageNumbers:
    """What was found in an image at the operating point, IoU 0.5.

    Attributes:
        image_id: of the image.
        f1: 2 matched / (2 matched + missed + false).
        matched: how many objects were found.
        missed: how many were not.
        false: how many detections are of no object.
    """

    image_id: int
    f1: float
    matched: int
    missed: int
    false: int


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
        precisions: [K][R] by COCO's interpolation, IoU 0.5; None for a class without objects.
        mean_precisions: [R] over classes with objects, at IoU "0.5", "0.75" and "0.50:0.95"; None
            where no class has objects.
        scores: S = 101 thresholds, 0..1.
        precision_by_score: [K][S] of the detections of at least that score, IoU 0.5; None in a list
            where there are no such detections, None for a class without objects.
        recall_by_score: [K][S], likewise (never None in a list).
        f1_by_score: [K][S], likewise: 2 TP / (2 TP + FP + FN).
        mean_f1_by_score: [S] over classes with objects; None where no class has objects.
        confusion: [K + 1][K + 1] counts at the operating point, IoU 0.5; rows are true classes,
            columns predicted ones, the last is background. See `confusion.py`.
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
) -> Analysis:
    """Everything about these detections.

    Args:
        ground_truth: in COCO's format, see `coco.coco_metrics`; ``width`` and ``height`` of images
            are used where they are known (`original_metrics.py`).
        results: detections in COCO's format.
        score: the operating point; None for that of the highest mean F1.

    Raises:
        InputError: an image or category which the ground truth does not have.
        ImportError: faster-coco-eval is not installed.
    """
    coco = coco_curves(ground_truth, results)
    objects, detections = read_objects(ground_truth), read_detections(ground_truth, results)
    matches = match(objects, detections)
    count = len(ground_truth["categories"])
    by_score = score_curves(matches, SCORES, count)
    if score is None:
        score = float(SCORES[np.argmax(by_score.mean_f1)])
    images = sorted(ground_truth["images"], key=lambda image: image["id"])
    sizes = [(image.get("width", np.inf), image.get("height", np.inf)) for image in images]
    present = by_score.objects > 0

    def by_class(curves) -> list[list | None]:
        return [_numbers(row) if some else None for row, some in zip(curves, present, strict=True)]

    return Analysis(
        iou=IOU,
        background_iou=BACKGROUND_IOU,
        score=score,
        classes=_classes(
            ground_truth, coco, matches, score_curves(matches, np.array([score]), count)
        ),
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
        images=_images([image["id"] for image in images], matches, score),
        original=original_metrics(objects, detections, np.array(sizes).reshape(-1, 2)),
    )


def _number(value: float) -> float | None:
    """A Python number; None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _classes(
    ground_truth: Mapping, coco: CocoCurves, matches: Matches, at_score: ScoreCurves
) -> list[ClassNumbers]:
    """The numbers of each class."""
    objects, count = matches.objects, len(ground_truth["categories"])
    pairs = np.unique(np.stack([objects.label, objects.image]), axis=1)  # class and image
    images = np.bincount(pairs[0], minlength=count)
    ap = coco.precision.mean(axis=1)  # [10, K, 4]
    columns = {
        "ap": ap[:, :, ALL].mean(axis=0),
        "ap50": ap[IOU_50, :, ALL],
        "ap75": ap[IOU_75, :, ALL],
        "ar100": coco.recall[:, :, ALL].mean(axis=0),
        "ap_small": ap[:, :, SMALL].mean(axis=0),
        "ap_medium": ap[:, :, MEDIUM].mean(axis=0),
        "ap_large": ap[:, :, LARGE].mean(axis=0),
        "precision": np.where(at_score.objects > 0, at_score.precision[:, 0], np.nan),
        "recall": at_score.recall[:, 0],
        "f1": at_score.f1[:, 0],
    }
    return [
        ClassNumbers(
            name=category["name"],
            objects=int(at_score.objects[k]),
            images=int(images[k]),
            **{name: _number(column[k]) for name, column in columns.items()},
        )
        for k, category in enumerate(ground_truth["categories"])
    ]


def _mean_precisions(precision: np.ndarray) -> dict[str, list[float] | None]:
    """Means over classes of [10, R, classes with objects], by IoU."""
    parts = {"0.5": [IOU_50], "0.75": [IOU_75], "0.50:0.95": list(range(10))}
    some = precision.shape[2] > 0
    return {
        name: precision[ious].mean(axis=(0, 2)).tolist() if some else None
        for name, ious in parts.items()
    }


def _images(ids: list[int], matches: Matches, score: float) -> list[ImageNumbers]:
    """The numbers of each image that has any, worst first."""
    counts = matches.detections.score >= score
    detected = np.bincount(matches.detections.image[counts], minlength=len(ids))
    matched = np.bincount(matches.detections.image[counts & matches.right], minlength=len(ids))
    objects = np.bincount(matches.objects.image, minlength=len(ids))
    rows = [
        ImageNumbers(image_id, 2 * m / (n + d), matched=m, missed=n - m, false=d - m)
        for image_id, m, n, d in zip(
            ids, matched.tolist(), objects.tolist(), detected.tolist(), strict=True
        )
        if n + d
    ]
    return sorted(rows, key=lambda row: (row.f1, -row.missed - row.false))


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
