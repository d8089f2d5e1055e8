"""The device's part of prediction as pure functions: network, decode, suppress, back to the image.

    predict = jax.jit(make_predict(module, NmsConfig()))
    found = predict(variables, images, letterboxes, sizes)   # evaluation, of letterboxed batches
    split_detections(found)                                  # [Prediction(...), ...]

Both a module with its variables as trained and a folded one (``models.fold``) will do.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from yolor_jax import boxes
from yolor_jax.detection.decode import Decoded, decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.views import AS_IT_IS, View, decode_views
from yolor_jax.models.detector import Detector, normalise
from yolor_jax.tasks.embedding import describe

LEAST_SIDE = 0.1  # pixels of the original image that must be left of a box in its border

Predict = Callable[[Mapping, Array, Array, Array], Detections]
Vectors = Float[Array, "B D E"]


@dataclasses.dataclass(frozen=True)
class NmsConfig:
    """What of a network's output is a detection.

    The defaults are for looking at pictures. ``EVALUATION`` has those of the COCO protocol, where
    even unlikely boxes count, at a higher cost.

    Attributes:
        score_threshold: objectness and score (objectness times class probability) exceed it.
        iou_threshold: a box goes if a better one of its class overlaps it by more.
        max_candidates: how many (box, class) pairs per image enter, best first.
        max_detections: D, how many boxes per image leave, best first.
    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_candidates: int = 4096
    max_detections: int = 300

    def __post_init__(self):
        thresholds = (self.score_threshold, self.iou_threshold)
        sizes = (self.max_candidates, self.max_detections)
        if not all(0 <= threshold <= 1 for threshold in thresholds) or min(sizes) < 1:
            raise InputError(f"got {self}; expected thresholds of 0 .. 1 and sizes of 1 or more")


EVALUATION = NmsConfig(score_threshold=0.001, iou_threshold=0.65, max_candidates=8192)


class Prediction(NamedTuple):
    """The detections in one image, by descending score; ``n`` may be 0.

    Attributes:
        boxes_xyxy: corners in pixels of the image, inside it.
        scores: 0..1.
        labels: class numbers.
        vectors: of length 1, if they were asked for; see `make_describe`.
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]
    vectors: Float32[np.ndarray, "n E"] | None = None


def make_predict(
    module: Detector,
    nms: NmsConfig,
    *,
    classes: Collection[int] | None = None,
    suppress: Callable[..., Detections] = non_max_suppression,
    views: Sequence[View] = AS_IT_IS,
) -> Predict:
    """The device's part of prediction, as a pure function for the caller to jit.

    Args:
        module: the network; its spec has the anchors and strides.
        nms: what is a detection.
        classes: numbers of the classes to look for; all if None. Boxes of others take no part in
            NMS, nor in its limits.
        suppress: `non_max_suppression`, or one of the others in ``detection.nms``.
        views: of each image; `THREE_VIEWS` for test-time augmentation.

    Returns:
        ``predict(variables, image, letterbox, original_size) -> Detections`` with image uint8
        [B, H, W, 3] (letterboxed, RGB), letterbox [B, 3] (scale, pad_x, pad_y), original_size
        [B, 2] (height, width). Boxes are float32 pixels of the original images, clipped to them;
        those of which nothing is left, because they lie in the grey border, are masked out, so
        that ``mask`` may have gaps. Decoding and suppression are float32 whatever the dtype of
        the network.
    """
    allowed = None if classes is None else np.isin(np.arange(module.num_classes), [*classes])

    def predict(
        variables: Mapping,
        image: UInt8[Array, "B H W 3"],
        letterbox: Float[Array, "B 3"],
        original_size: Int[Array, "B 2"],
    ) -> Detections:
        def detect(pixels: Float[Array, "B h w 3"]) -> Decoded:
            logits = module.apply(variables, pixels, train=False).detect
            return decode(logits, anchors=module.spec.anchors, strides=module.spec.strides)

        pixels = normalise(image, module.dtype)
        stride = module.spec.strides[-1]
        decoded = decode_views(detect, pixels, views, stride=stride)  # [B, N, ...]
        found = suppress(
            decoded,
            allowed_classes=None if allowed is None else jnp.asarray(allowed),
            **dataclasses.asdict(nms),
        )  # [B, D, ...]
        return to_original(found, letterbox, original_size)

    return predict


def to_original(
    found: Detections, letterbox: Float[Array, "B 3"], original_size: Int[Array, "B 2"]
) -> Detections:
    """Detections in network inputs as those in the original images.

    Args:
        found: [B, D, ...], boxes in pixels of the network inputs.
        letterbox: (scale, pad_x, pad_y) of each image.
        original_size: (height, width) of each in pixels.

    Returns:
        Boxes in pixels of the images, clipped to them; those of which nothing is left are masked
        out.
    """
    boxes_xyxy = boxes.letterbox_to_original(found.boxes_xyxy, letterbox, original_size)
    sides = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]  # [B, D, 2]
    mask = found.mask & (sides.min(axis=-1) > LEAST_SIDE)
    return Detections(
        boxes_xyxy=jnp.where(mask[..., None], boxes_xyxy, 0),
        scores=jnp.where(mask, found.scores, 0),
        labels=jnp.where(mask, found.labels, 0),
        mask=mask,
    )


def make_describe(module: Detector) -> Callable[[Mapping, Array, Array, Detections], Vectors]:
    """What gives each detection a vector by which its object is known again, for the caller to jit.

    Under one jit with `make_predict` the network runs once: XLA finds that both ask for the same.

    Args:
        module: the network; embedding is one of its tasks.

    Returns:
        ``describe(variables, image, letterbox, detections) -> vectors`` with arguments as of
        `make_predict` and its result; vectors are float32 [B, D, E], of length 1.

    Raises:
        InputError: the network has no embedding.
    """
    if "embed" not in module.spec.tasks:
        raise InputError(
            "this network gives objects no vectors; train one with the task embed (docs/tasks.md)"
        )

    def describe_all(
        variables: Mapping,
        image: UInt8[Array, "B H W 3"],
        letterbox: Float[Array, "B 3"],
        detections: Detections,
    ) -> Vectors:
        embed = module.apply(variables, normalise(image, module.dtype), train=False).embed
        scale, pads = letterbox[:, None, :1], jnp.tile(letterbox[:, None, 1:], 2)  # [B, 1, _]
        boxes_xyxy = detections.boxes_xyxy * scale + pads  # [B, D, 4] on the canvas
        return describe(embed, boxes_xyxy, detections.mask, strides=module.spec.strides)

    return describe_all


def split_detections(detections: Detections, vectors: Vectors | None = None) -> list[Prediction]:
    """Fetches the detections of a batch from the device and cuts off what is masked out.

    Args:
        detections: [B, D, ...], on the device or the host.
        vectors: of the detections, if they have any.

    Returns:
        One ``Prediction`` for each of the B images.
    """
    (boxes_xyxy, scores, labels, mask), vectors = jax.device_get((detections, vectors))
    return [
        Prediction(
            boxes_xyxy[i, mask[i]],
            scores[i, mask[i]],
            labels[i, mask[i]],
            None if vectors is None else vectors[i, mask[i]],
        )
        for i in range(len(mask))
    ]
