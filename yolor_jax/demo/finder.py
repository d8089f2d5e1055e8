"""A network that looks at an image once, so that thresholds can be moved without it.

    finder = Finder(load("runs/quickstart"))
    seen = finder.look(image)                    # the network
    finder.find(seen, score=0.25, iou=0.45)      # NMS alone: the boxes of `Trained.predictor`
    without = finder.look(image, implicit=False)  # implicit knowledge put out of effect

Both parts are compiled once for all thresholds and classes, which are arguments of the program.
"""

import functools
import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, UInt8

from yolor_jax import boxes
from yolor_jax.data.classes import category_ids
from yolor_jax.data.letterbox import letterbox as letterbox_image
from yolor_jax.detection.decode import Decoded, decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.inference.prediction import NmsConfig, split_detections, to_original
from yolor_jax.inference.predictor import check_image
from yolor_jax.models.detector import normalise
from yolor_jax.models.fold import fold
from yolor_jax.models.implicits import find, no_knowledge, without_effect
from yolor_jax.runs.found import Found
from yolor_jax.runs.trained import Trained

SAME = 0.5
"""From this IoU on two boxes of a class are taken for the same object."""


class Seen(NamedTuple):
    """All that a network predicts for an image, and how the image lay in its input.

    Attributes:
        decoded: on the device, without any threshold.
        letterbox: (scale, pad_x, pad_y).
        original_size: (height, width) of the image in pixels.
        seconds: that the network took.
    """

    decoded: Decoded
    letterbox: Float32[np.ndarray, "1 3"]
    original_size: Int32[np.ndarray, "1 2"]
    seconds: float


class Finder:
    """A network in two states, with its implicit knowledge and without; an image at a time."""

    def __init__(self, trained: Trained):
        """Puts the network on the device, folded, which changes nothing but its time.

        Args:
            trained: folded or not; of a folded one implicit knowledge cannot be taken out.
        """
        folded = trained if trained.fused else trained.folded()
        networks = {True: folded.variables}
        if find(trained.variables["params"]):
            spec, params = without_effect(trained.spec, trained.variables["params"])
            networks[False] = fold(spec, {**trained.variables, "params": params})
        self._networks = jax.device_put(networks)
        self._size = (trained.image_size, trained.image_size)
        self._class_names = trained.class_names
        self._category_ids = category_ids(trained.class_names)
        module = folded.module

        def predictions(variables: Mapping, image: UInt8[Array, "1 H W 3"]) -> Decoded:
            logits = module.apply(variables, normalise(image, module.dtype), train=False).detect
            return decode(logits, anchors=module.spec.anchors, strides=module.spec.strides)

        self._predictions = jax.jit(predictions)

    @property
    def has_implicit(self) -> bool:
        """Whether there is implicit knowledge to be put out of effect."""
        return False in self._networks

    def look(self, image: UInt8[np.ndarray, "_ _ 3"], *, implicit: bool = True) -> Seen:
        """Lets the network see an image.

        Args:
            image: RGB, of any size.
            implicit: whether its implicit knowledge takes effect; if not, each g(z) is the neutral
                element of its operator (`models.implicits.without_effect`).

        Raises:
            InputError: no such image, or no implicit knowledge to be put out of effect.
        """
        if implicit not in self._networks:
            raise no_knowledge()
        canvas, letterbox = letterbox_image(check_image(image, "the image"), self._size)
        started = time.perf_counter()
        decoded = self._predictions(self._networks[implicit], canvas[None])
        jax.block_until_ready(decoded)
        seconds = time.perf_counter() - started
        size = np.array([image.shape[:2]], np.int32)
        return Seen(decoded, letterbox[None], size, seconds)

    def find(self, seen: Seen, *, score: float, iou: float, classes: Collection[int] = ()) -> Found:
        """The objects among what a network has seen; the network is not run.

        Args:
            seen: by `look`.
            score: least score of a box, 0..1.
            iou: a box goes if a better one of its class overlaps it by more, 0..1.
            classes: numbers of those to look for; all if there are none.

        Raises:
            InputError: a threshold outside 0..1.
        """
        nms = NmsConfig(score_threshold=score, iou_threshold=iou)
        labels = np.arange(len(self._class_names))
        detections = _suppressed(
            *seen[:3],
            np.isin(labels, [*classes]) if classes else np.ones(len(labels), bool),
            np.float32(nms.score_threshold),
            np.float32(nms.iou_threshold),
            max_candidates=nms.max_candidates,
            max_detections=nms.max_detections,
        )
        [(boxes_xyxy, scores, labels, _)] = split_detections(detections)
        return Found(boxes_xyxy, scores, labels, self._class_names, self._category_ids)


@functools.partial(jax.jit, static_argnames=("max_candidates", "max_detections"))
def _suppressed(
    decoded: Decoded,
    letterbox: Float[Array, "1 3"],
    original_size: Int[Array, "1 2"],
    allowed_classes: Bool[Array, " K"],
    score_threshold: Float[Array, ""],
    iou_threshold: Float[Array, ""],
    *,
    max_candidates: int,
    max_detections: int,
) -> Detections:
    found = non_max_suppression(
        decoded,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_candidates=max_candidates,
        max_detections=max_detections,
        allowed_classes=allowed_classes,
    )
    return to_original(found, letterbox, original_size)


def found_by_one(found: Found, other: Found) -> Bool[np.ndarray, " n"]:
    """Which objects have no box of their class in another result with an IoU of `SAME` or more."""
    if not len(found) or not len(other):
        return np.ones(len(found), bool)
    overlap = np.asarray(boxes.pairwise_iou(found.boxes_xyxy, other.boxes_xyxy))  # [n, m]
    same_class = found.labels[:, None] == other.labels
    return ~np.any(same_class & (overlap >= SAME), axis=1)
