"""COCO's matches of detections and objects, at one IoU, in all images and classes at once.

    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    matches.right                               # [D]: which detections are of an object
    matches.found                               # [G]: which objects were detected

By falling score each detection takes the free object of its class in its image with the highest
IoU, if that is 0.5 or more. One that takes none but lies by half in a crowd of its class is neither
right nor wrong. Such detections, and the crowds, are not in `Matches`, so nobody after this file
needs to think of them.

References:
    https://cocodataset.org/#detection-eval
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from yolor_jax.evaluation.columns import Detections, Objects, best_of_each, position_in_run

IOU = 0.5
"""From which on a detection is of an object."""
BACKGROUND_IOU = 0.1
"""Below which a detection is of nothing."""
MOST = 100
"""COCO counts so many detections of a class in an image."""
AT_ONCE = 2**22


class Pairs(NamedTuple):
    """Detections and objects in the same image, of whatever class, that overlap.

    Attributes:
        detection: number of the detection.
        object: number of the object.
        iou: theirs; the share of the detection's own area where the object is a crowd.
    """

    detection: Int[np.ndarray, " P"]
    object: Int[np.ndarray, " P"]
    iou: Float[np.ndarray, " P"]

    def where(self, which: Bool[np.ndarray, " P"]) -> "Pairs":
        """Some of them."""
        return Pairs(*(column[which] for column in self))


@dataclasses.dataclass(frozen=True)
class Matches:
    """Who is whose, without crowds and without the detections that they excuse.

    Attributes:
        objects: G of them, none a crowd.
        detections: D of them, by falling score.
        pairs: of IoU `BACKGROUND_IOU` or more.
        object_of: the object that each detection is of, -1 for none.
    """

    objects: Objects
    detections: Detections
    pairs: Pairs
    object_of: Int[np.ndarray, " D"]

    @property
    def right(self) -> Bool[np.ndarray, " D"]:
        """Which detections are of an object."""
        return self.object_of >= 0

    @property
    def found(self) -> Bool[np.ndarray, " G"]:
        """Which objects were detected."""
        found = np.zeros(len(self.objects.label), bool)
        found[self.object_of[self.right]] = True
        return found


def match(objects: Objects, detections: Detections) -> Matches:
    """Matches at IoU 0.5 what COCO counts: the first hundred of each class in each image."""
    detections = best_of_each(detections, MOST)
    pairs = overlapping(detections, objects, BACKGROUND_IOU)
    same_class = detections.label[pairs.detection] == objects.label[pairs.object]
    object_of = greedy(
        pairs.where(same_class & (pairs.iou >= IOU)),
        len(detections.label),
        objects.crowd,
    )

    counts, real = ~np.append(objects.crowd, False)[object_of], ~objects.crowd
    new_detection, new_object = np.cumsum(counts) - 1, np.cumsum(real) - 1
    kept = counts[pairs.detection] & real[pairs.object]
    object_of = object_of[counts]
    return Matches(
        Objects(*(column[real] for column in objects)),
        Detections(*(column[counts] for column in detections)),
        Pairs(
            new_detection[pairs.detection[kept]], new_object[pairs.object[kept]], pairs.iou[kept]
        ),
        np.append(new_object, -1)[object_of],
    )


def overlapping(detections: Detections, objects: Objects, least_iou: float) -> Pairs:
    """All pairs in the same image with at least that IoU."""
    by_image = np.argsort(objects.image, kind="stable")
    image = objects.image[by_image]
    first = np.searchsorted(image, detections.image, side="left")
    sizes = np.searchsorted(image, detections.image, side="right") - first

    def some(part: Int[np.ndarray, " n"]) -> Pairs:
        detection = np.repeat(part, sizes[part])
        number = by_image[first[detection] + position_in_run(sizes[part])]
        iou = _iou(
            detections.boxes_xywh[detection], objects.boxes_xywh[number], objects.crowd[number]
        )
        return Pairs(detection, number, iou).where(iou >= least_iou)

    parts = np.array_split(np.arange(len(sizes)), sizes.sum() // AT_ONCE + 1)
    return Pairs(*(np.concatenate(columns) for columns in zip(*map(some, parts), strict=True)))


def greedy(pairs: Pairs, detections: int, crowd: Bool[np.ndarray, " G"]) -> Int[np.ndarray, " D"]:
    """By falling score each detection takes of its pairs the free object with the highest IoU.

    A crowd is taken last, and never taken away. Of equal IoUs the later object, as in COCO's tools.

    Returns:
        The object that each detection took, -1 for none.
    """
    order = np.lexsort((-pairs.object, -pairs.iou, crowd[pairs.object], pairs.detection))
    object_of, free = [-1] * detections, [True] * len(crowd)
    columns = pairs.detection[order], pairs.object[order], crowd[pairs.object[order]]
    for detection, number, is_crowd in zip(*(column.tolist() for column in columns), strict=True):
        if object_of[detection] < 0 and free[number]:
            object_of[detection] = number
            free[number] = is_crowd
    return np.array(object_of, np.int64)


def nearest(pairs: Pairs, detections: int) -> tuple[Float[np.ndarray, " D"], Int[np.ndarray, " D"]]:
    """Each detection's highest IoU among these pairs, and the object it is with; 0 and -1 for none.

    Of equal IoUs the first object.
    """
    order = np.lexsort((-pairs.object, pairs.iou))  # the last one that is written remains
    iou, number = np.zeros(detections), np.full(detections, -1)
    iou[pairs.detection[order]] = pairs.iou[order]
    number[pairs.detection[order]] = pairs.object[order]
    return iou, number


def _iou(
    boxes_xywh: Float[np.ndarray, "P 4"],
    objects_xywh: Float[np.ndarray, "P 4"],
    crowd: Bool[np.ndarray, " P"],
) -> Float[np.ndarray, " P"]:
    """IoU row by row; with a crowd, the share of the box that lies in it."""
    upper = np.minimum(
        boxes_xywh[:, :2] + boxes_xywh[:, 2:], objects_xywh[:, :2] + objects_xywh[:, 2:]
    )
    sides = np.maximum(upper - np.maximum(boxes_xywh[:, :2], objects_xywh[:, :2]), 0)
    both = sides.prod(axis=1)
    area = boxes_xywh[:, 2:].prod(axis=1)
    either = area + np.where(crowd, 0, objects_xywh[:, 2:].prod(axis=1) - both)
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
