"""The objects of a split that have an identity, with their vectors: of true boxes, of detections.

    known = KnownObjects()
    known.add(index, seen)          # for each batch: `tasks.Observations`
    known.numbers()                 # {} where the split has no identities

A detection is of an object as in COCO's matching (`evaluation.matching`), whatever its class: by
falling score each takes the free object with the highest IoU, if that is 0.5 or more.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.columns import Detections, Objects
from yolor_jax.evaluation.matching import IOU, greedy, overlapping
from yolor_jax.evaluation.retrieval import retrieval, true_positive_rate

FAR = 0.1
"""The false accept rate at which true accepts are counted, as in JDE (arXiv 1909.12605)."""


class Seen(NamedTuple):
    """Objects with their vectors.

    Attributes:
        vectors: of length 1.
        identity: 0 or more.
        image: position in the split.
    """

    vectors: Float[np.ndarray, "n D"]
    identity: Int[np.ndarray, " n"]
    image: Int[np.ndarray, " n"]


class KnownObjects:
    """Collects them batch by batch."""

    def __init__(self):
        """None was seen."""
        self._true: list[Seen] = []
        self._detected: list[Seen] = []

    def add(self, index: Int[np.ndarray, " B"], seen: Any) -> None:
        """Takes the objects of a batch.

        Args:
            index: positions of its images.
            seen: `tasks.Observations` of a network with embedding, as NumPy arrays.
        """
        row, column = np.nonzero(seen.objects & (seen.identity >= 0))  # [n]
        identity, image = seen.identity[row, column], index[row]
        self._true.append(Seen(seen.vectors[row, column], identity, image))
        if seen.found is not None:
            by_object, is_found = _vectors_of_detections(seen)
            kept = is_found[row, column]
            vectors = by_object[row[kept], column[kept]]
            self._detected.append(Seen(vectors, identity[kept], image[kept]))

    def numbers(self) -> Metrics:
        """The numbers of `tasks.IDENTITY_NUMBERS`; none at all where no object has an identity."""
        true = _joined(self._true)
        if true is None or not len(true.identity):
            return {}
        numbers = _numbers("embed/", true)
        if detected := _joined(self._detected):
            numbers["embed/detected"] = len(detected.identity) / len(true.identity)
            numbers |= _numbers("embed/detected_", detected)
        return numbers


def _numbers(prefix: str, seen: Seen) -> Metrics:
    recall1, mean_ap = retrieval(*seen)
    rate = true_positive_rate(*seen, far=FAR)
    return {
        f"{prefix}recall1": recall1,
        f"{prefix}retrieval_mAP": mean_ap,
        f"{prefix}TPR_FAR{FAR}": rate,
    }


def _joined(parts: list[Seen]) -> Seen | None:
    return Seen(*map(np.concatenate, zip(*parts, strict=True))) if parts else None


def _vectors_of_detections(seen: Any) -> tuple[np.ndarray, np.ndarray]:
    """For each target the vector of the detection that is of it [B, T, D], and whether there is."""
    row, column = np.nonzero(seen.objects)
    nothing = np.zeros(len(row), np.int64)
    objects = Objects(row, nothing, _xywh(seen.boxes_xyxy[row, column]), nothing.astype(bool))
    image, place = np.nonzero(seen.found.mask)
    order = np.lexsort((image, -seen.found.scores[image, place]))
    image, place = image[order], place[order]
    detections = Detections(
        image,
        np.zeros(len(image), np.int64),
        _xywh(seen.found.boxes_xyxy[image, place]),
        seen.found.scores[image, place].astype(np.float64),
    )
    object_of = greedy(overlapping(detections, objects, IOU), len(image), objects.crowd)
    right = object_of >= 0
    row, column = row[object_of[right]], column[object_of[right]]
    vectors, is_found = np.zeros_like(seen.vectors), np.zeros_like(seen.objects)
    vectors[row, column] = seen.found_vectors[image[right], place[right]]
    is_found[row, column] = True
    return vectors, is_found


def _xywh(boxes_xyxy: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    corners = boxes_xyxy.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
