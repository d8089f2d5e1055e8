"""The numbers of each class: COCO's, and those at the operating point.

```python
rows = class_numbers(names, coco_curves(ground_truth, results), matches, at_score)
rows[0].ap50
```
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from yolor_jax.evaluation.coco_curves import (
    ALL,
    IOU_50,
    IOU_75,
    LARGE,
    MEDIUM,
    SMALL,
    CocoCurves,
)
from yolor_jax.evaluation.matching import Matches
from yolor_jax.evaluation.score_curves import ScoreCurves


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


def class_numbers(
    names: Sequence[str], coco: CocoCurves, matches: Matches, at_score: ScoreCurves
) -> list[ClassNumbers]:
    """The numbers of each class, in the order of their names.

    Args:
        names: of the classes.
        coco: COCO's curves.
        matches: at IoU 0.5.
        at_score: the curves by score at one score only, the operating point.
    """
    objects = matches.objects
    labels, _ = np.unique(np.stack([objects.label, objects.image]), axis=1)  # once an image
    images = np.bincount(labels, minlength=len(names))
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
            name=name,
            objects=int(at_score.objects[k]),
            images=int(images[k]),
            **{number: none_for_nan(column[k]) for number, column in columns.items()},
        )
        for k, name in enumerate(names)
    ]


def none_for_nan(value: float) -> float | None:
    """A plain number; None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
