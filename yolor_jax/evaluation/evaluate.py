"""Evaluation of a data set by the COCO protocol: every image once, boxes in original pixels.

Example:
    >>> predict = jax.jit(make_predict(module, EVALUATION))
    >>> batches = eval_batches(source, image_size=640, batch_size=32, max_targets=1)
    >>> evaluation = evaluate(predict, variables, batches, source)
    >>> print(format_table({"trained": evaluation.metrics}))
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Sharding

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.coco_curves import CocoCurves, compare
from yolor_jax.evaluation.each_image import Truth, each_image
from yolor_jax.inference.prediction import Predict, Prediction, split_detections

Results = list[dict[str, Any]]
Scored = Callable[[dict, Results], tuple[dict, Results]]
"""What is compared of a ground truth and of the results; both in COCO's format."""


class Evaluation(NamedTuple):
    """What an evaluation gives.

    Attributes:
        metrics: the twelve numbers by name; None where there is nothing to measure.
        results: the detections in COCO's format (image_id, category_id, bbox as left, top, width,
            height, score), ready for ``json.dump``.
        curves: COCO's, where the backend gives any.
    """

    metrics: Metrics
    results: Results
    curves: CocoCurves | None = None


def all_scored(ground_truth: dict, results: Results) -> tuple[dict, Results]:
    """All of both."""
    return ground_truth, results


def evaluate(
    predict: Predict,
    variables: Mapping,
    batches: Iterable[Batch],
    source: Truth,
    *,
    backend: str = "faster-coco-eval",
    scored: Scored = all_scored,
    sharding: Sharding | None = None,
    progress: bool = True,
) -> Evaluation:
    """Detects in all images of a split and compares with its ground truth.

    Args:
        predict: jitted ``inference.prediction.make_predict``; compiled once for all batches.
        variables: of the network, on the device (or devices) already.
        batches: every image of the split once, see `each_image`.
        source: the split.
        backend: one of `coco.BACKENDS`.
        scored: what the numbers are of; the results are all that was found.
        sharding: see `each_image`.
        progress: whether to show a bar, counting images.

    Returns:
        ``Evaluation``, the same in every process.

    Raises:
        InputError: an image comes twice, never, or from nowhere.
    """
    ids = np.asarray(source.image_ids)
    results = []
    passes = each_image(
        predict,
        variables,
        batches,
        ids,
        inputs=lambda batch: (batch.image, batch.letterbox, batch.original_size),
        sharding=sharding,
        progress=progress,
    )
    for index, detections in passes:
        for position, prediction in zip(index, split_detections(detections), strict=True):
            results += coco_results(prediction, int(ids[position]), source.category_ids)
    ground_truth = source.ground_truth()
    _check_same_images(ids, ground_truth)
    compared = compare(*scored(ground_truth, results), backend=backend)
    return Evaluation(compared.metrics, results, compared.curves)


def coco_results(
    prediction: Prediction, image_id: int, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """The detections in one image as entries of a COCO results file.

    Args:
        prediction: boxes in pixels of the original image.
        image_id: of the image.
        category_ids: the id of each class number.

    Returns:
        One dict of plain Python numbers per detection.
    """
    boxes_xywh = prediction.boxes_xyxy.astype(np.float64)  # [n, 4]
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    rows = zip(
        boxes_xywh.tolist(), prediction.scores.tolist(), prediction.labels.tolist(), strict=True
    )
    return [
        {
            "image_id": image_id,
            "category_id": int(category_ids[label]),
            "bbox": box_xywh,
            "score": score,
        }
        for box_xywh, score, label in rows
    ]


def _check_same_images(ids: np.ndarray, ground_truth: dict) -> None:
    """Raises InputError unless the split and its ground truth have the same images."""
    true_ids = [image["id"] for image in ground_truth["images"]]
    if sorted(true_ids) != sorted(ids.tolist()):
        raise InputError(
            f"the source has {len(ids)} images and its ground truth {len(true_ids)}, not the same "
            "ones: annotations and prepared images must come from one data set"
        )
