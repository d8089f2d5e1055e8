"""Evaluation of a data set by the COCO protocol: every image once, boxes in original pixels.

The device computes a batch while the host unpacks the one before. What fills up the last batch
is left out; an image that comes twice or never is an error, so a number stands for the whole split.

Example:
    >>> predict = jax.jit(make_predict(module, EVALUATION))
    >>> batches = eval_batches(source, image_size=640, batch_size=32, max_targets=1)
    >>> metrics, results = evaluate(predict, variables, batches, source)
    >>> print(format_table({"trained": metrics}))
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding
from tqdm import tqdm

from yolor_jax.data.example import Batch
from yolor_jax.detection.nms import Detections
from yolor_jax.evaluation.coco import Metrics, coco_metrics
from yolor_jax.inference.predictor import Predict, Prediction, split_detections


@runtime_checkable
class Truth(Protocol):
    """What evaluation asks of a data source."""

    image_ids: Sequence[int]
    category_ids: Sequence[int]

    def ground_truth(self) -> dict:
        """The split in COCO's format."""


class Evaluation(NamedTuple):
    """What an evaluation gives.

    Attributes:
        metrics: the twelve numbers by name; None where there is nothing to measure.
        results: the detections in COCO's format (image_id, category_id, bbox as left, top, width,
            height, score), ready for ``json.dump``.
    """

    metrics: Metrics
    results: list[dict[str, Any]]


def evaluate(
    predict: Predict,
    variables: Mapping,
    batches: Iterable[Batch],
    source: Truth,
    *,
    backend: str = "faster-coco-eval",
    sharding: Sharding | None = None,
    progress: bool = True,
) -> Evaluation:
    """Detects in all images of a split and compares with its ground truth.

    Args:
        predict: jitted ``inference.predictor.make_predict``; compiled once for all batches.
        variables: of the network, on the device (or devices) already.
        batches: every image of the split once; ``valid`` is false for fillings. In a run of
            several processes, each one's share of every batch, and as many batches for each.
        source: the split.
        backend: "faster-coco-eval" or "pycocotools".
        sharding: how the leading axis of a batch lies on the devices; None for one device.
        progress: whether to show a bar, counting images.

    Returns:
        ``Evaluation``, the same in every process.

    Raises:
        ValueError: an image comes twice, never, or from nowhere.
    """
    ids = np.asarray(source.image_ids)
    seen = np.zeros(len(ids), np.int64)
    results = []
    hidden = not progress or jax.process_index() != 0
    with tqdm(total=len(ids), desc="evaluating", unit="image", disable=hidden) as bar:
        for index, predictions in _predictions(predict, variables, batches, sharding):
            _count(seen, index)
            for position, prediction in zip(index, predictions, strict=True):
                results += coco_results(prediction, int(ids[position]), source.category_ids)
            bar.update(len(index))
    if not seen.all():
        missing = np.nonzero(seen == 0)[0]
        raise ValueError(
            f"{len(missing)} of {len(ids)} images never came, the first at position {missing[0]} "
            f"(image id {ids[missing[0]]}): evaluation takes every image of the split"
        )
    ground_truth = source.ground_truth()
    _check_same_images(ids, ground_truth)
    return Evaluation(coco_metrics(ground_truth, results, backend=backend), results)


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


def _predictions(
    predict: Predict, variables: Mapping, batches: Iterable[Batch], sharding: Sharding | None
) -> Iterator[tuple[np.ndarray, list[Prediction]]]:
    """Of each batch the positions of its real images, and their detections.

    A batch is fetched only after the next one has been sent to the device.
    """
    waiting = None
    for batch in batches:
        image, letterbox, original_size, index, valid = _place(
            (batch.image, batch.letterbox, batch.original_size, batch.index, batch.valid), sharding
        )
        detections = predict(variables, image, letterbox, original_size)
        if waiting is not None:
            yield _fetch(*waiting)
        waiting = detections, index, valid
    if waiting is not None:
        yield _fetch(*waiting)


def _place(arrays: tuple, sharding: Sharding | None) -> tuple:
    """Sends this process's share of a batch to its devices."""
    if sharding is None:
        return jax.device_put(arrays)
    return tuple(
        jax.make_array_from_process_local_data(sharding, np.asarray(array)) for array in arrays
    )


def _fetch(detections: Detections, index, valid) -> tuple[np.ndarray, list[Prediction]]:
    """Brings a batch to the host, to every one if there are several, without its fillings."""
    if jax.process_count() > 1:
        detections, index, valid = multihost_utils.process_allgather(
            (detections, index, valid), tiled=True
        )
    index, valid = jax.device_get((index, valid))
    predictions = split_detections(detections)
    return index[valid], [p for p, real in zip(predictions, valid, strict=True) if real]


def _count(seen: np.ndarray, index: np.ndarray) -> None:
    """Notes which images came; raises ValueError if one came before or is none of the split."""
    foreign = index[(index < 0) | (index >= len(seen))]
    if len(foreign):
        raise ValueError(
            f"a batch has the image at position {foreign[0]}, but the split has {len(seen)} "
            "images: do batches and source belong together?"
        )
    np.add.at(seen, index, 1)
    if (seen > 1).any():
        raise ValueError(
            f"the image at position {np.argmax(seen > 1)} came twice: evaluation takes every image "
            "once, so use batches without shuffling, repetition or overlap between processes"
        )


def _check_same_images(ids: np.ndarray, ground_truth: dict) -> None:
    """Raises ValueError unless the split and its ground truth have the same images."""
    true_ids = [image["id"] for image in ground_truth["images"]]
    if sorted(true_ids) != sorted(ids.tolist()):
        raise ValueError(
            f"the source has {len(ids)} images and its ground truth {len(true_ids)}, not the same "
            "ones: annotations and prepared images must come from one data set"
        )
