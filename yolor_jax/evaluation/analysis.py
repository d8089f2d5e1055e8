"""What an evaluation says beyond the twelve numbers: by class, by score, by kind of error, by image.

    analysis = analyse(source.ground_truth(), results)
    path.write_text(json.dumps(to_json(analysis), allow_nan=False))

Everything rests on COCO's matches at IoU 0.5: an image's detections of a class, by falling score,
each take the free object of that class with the highest IoU; detections in a crowd are neither right
nor wrong; of an image and a class the 100 highest scores count. "At the operating point" means: of
the detections with at least the score `Analysis.score`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.evaluation.calibration import Bin, Calibration, ScoreHistogram
from yolor_jax.evaluation.error_kinds import ErrorKind
from yolor_jax.evaluation.original_metrics import OriginalMetrics


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
            or the one that was asked for.
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
        errors: by the names in `error_kinds.KINDS` and `error_kinds.SPECIAL_KINDS`, over all scores.
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
