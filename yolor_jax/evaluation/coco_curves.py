"""COCO's precision by recall, of each class, IoU and size, from faster-coco-eval.

```python
curves = coco_curves(ground_truth, results)
curves.precision[0, :, 3, ALL]              # of the fourth class, at IoU 0.5
metrics, curves = compare(ground_truth, results)    # and the twelve numbers, in the same pass
```
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from yolor_jax.evaluation.coco import (
    Metrics,
    coco_metrics,
    faster_evaluator,
    named,
    prepared,
    twelve,
)

ALL, SMALL, MEDIUM, LARGE = range(4)
"""Sizes: the last axis."""
IOU_50, IOU_75 = 0, 5
"""Two of the ten thresholds: the first axis."""


class CocoCurves(NamedTuple):
    """With 100 detections per image and class; NaN where a class has no objects of that size.

    Attributes:
        precision: at IoU 0.50, 0.55 ... 0.95, at 101 recalls, by class, by size.
        recall: the highest one, at the same IoUs, by class, by size.
    """

    precision: Float[np.ndarray, "10 101 K 4"]
    recall: Float[np.ndarray, "10 K 4"]


class Comparison(NamedTuple):
    """What a pass over detections and objects has found.

    Attributes:
        metrics: the twelve numbers by name.
        curves: where the library that compared them gives any; else None.
    """

    metrics: Metrics
    curves: CocoCurves | None


def compare(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    backend: str = "faster-coco-eval",
) -> Comparison:
    """The twelve numbers, and by the default library the curves that it draws them from.

    Arguments and errors as of `coco.coco_metrics`.
    """
    if backend != "faster-coco-eval":
        return Comparison(coco_metrics(ground_truth, results, backend=backend), None)
    evaluator = faster_evaluator(*prepared(ground_truth, results))
    return Comparison(named(twelve(evaluator)), _curves(evaluator, ground_truth))


def coco_curves(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> CocoCurves:
    """All curves; classes in the order of ``categories``.

    Args:
        ground_truth: see `coco.coco_metrics`.
        results: likewise.

    Raises:
        InputError: an image or category which the ground truth does not have.
    """
    evaluator = faster_evaluator(*prepared(ground_truth, results))
    evaluator.evaluate()
    evaluator.accumulate()
    return _curves(evaluator, ground_truth)


def _curves(evaluator, ground_truth: Mapping[str, Any]) -> CocoCurves:
    """Those of an evaluator that has accumulated."""
    ids = [category["id"] for category in ground_truth["categories"]]
    place = np.argsort(np.argsort(ids))  # the library has them by rising id
    precision = np.asarray(evaluator.eval["precision"], float)[..., -1][:, :, place]
    recall = np.asarray(evaluator.eval["recall"], float)[..., -1][:, place]
    return CocoCurves(
        np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)
    )
