"""Ground truth and results in COCO's format as columns: one array per property, not a dict per box.

    objects = read_objects(ground_truth)
    detections = best_of_each(read_detections(ground_truth, results), most=100)

Images are numbered by rising id, as COCO's tools go through them, and classes by their order in
``categories``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Objects(NamedTuple):
    """The objects of a split, in the order of its annotations.

    Attributes:
        image: number of the image.
        label: number of the class.
        boxes_xywh: left, top, width, height in pixels.
        crowd: whether it is a region to ignore.
    """

    image: Int[np.ndarray, " G"]
    label: Int[np.ndarray, " G"]
    boxes_xywh: Float[np.ndarray, "G 4"]
    crowd: Bool[np.ndarray, " G"]


class Detections(NamedTuple):
    """Detections, by falling score; those of equal score by image, then as they came.

    Attributes:
        image: number of the image.
        label: number of the class.
        boxes_xywh: left, top, width, height in pixels.
        score: 0..1.
    """

    image: Int[np.ndarray, " D"]
    label: Int[np.ndarray, " D"]
    boxes_xywh: Float[np.ndarray, "D 4"]
    score: Float[np.ndarray, " D"]


def read_objects(ground_truth: Mapping[str, Any]) -> Objects:
    """All annotations, crowds too."""
    annotations = ground_truth["annotations"]
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in annotations]
    return Objects(*_places(ground_truth, annotations), np.array(crowd, bool))


def read_detections(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> Detections:
    """All detections."""
    score = np.array([result["score"] for result in results], np.float64)
    places = _places(ground_truth, results)
    order = np.lexsort((places[0], -score))
    return Detections(*(column[order] for column in (*places, score)))


def best_of_each(detections: Detections, most: int) -> Detections:
    """At most so many detections of each class in each image, those with the highest scores."""
    classes = detections.label.max(initial=0) + 1
    group = detections.image * classes + detections.label
    order = np.argsort(group, kind="stable")
    sizes = np.unique(group, return_counts=True)[1]
    rank = np.empty(len(group), int)
    rank[order] = position_in_run(sizes)
    return Detections(*(column[rank < most] for column in detections))


def position_in_run(sizes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " total"]:
    """0, 1, ... up to each size: ``[2, 0, 3]`` gives ``[0, 1, 0, 1, 2]``."""
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _places(ground_truth, boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, label and box of annotations or detections."""
    images = {
        image_id: number
        for number, image_id in enumerate(sorted(image["id"] for image in ground_truth["images"]))
    }
    labels = {category["id"]: number for number, category in enumerate(ground_truth["categories"])}
    return (
        np.array([images[box["image_id"]] for box in boxes], np.int64),
        np.array([labels[box["category_id"]] for box in boxes], np.int64),
        np.array([box["bbox"] for box in boxes], np.float64).reshape(-1, 4),
    )
