"""The one way from an image to boxes: letterbox, network, decode, suppress, back to the original.

``make_predict`` gives the part that runs on the device, as a pure function; evaluation jits it over
batches that the pipeline has letterboxed. ``Predictor`` wraps it for images of any size. Both take
a module with its variables, folded (``models.fold``) or not.

Example:
    >>> predictor = Predictor(module, variables, image_size=640)
    >>> [prediction] = predictor([image])           # RGB uint8 [H, W, 3]
    >>> prediction.boxes_xyxy, prediction.scores, prediction.labels
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from yolor_jax import boxes
from yolor_jax.data.letterbox import letterbox as letterbox_image
from yolor_jax.detection.decode import Decoded, decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.views import AS_IT_IS, View, decode_views
from yolor_jax.models.detector import Detector, normalise, require_multiple

LEAST_SIDE = 0.1  # pixels of the original image that must be left of a box in its border

Predict = Callable[[Mapping, Array, Array, Array], Detections]


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
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]


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
        boxes_xyxy = boxes.letterbox_to_original(found.boxes_xyxy, letterbox, original_size)
        sides = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]  # [B, D, 2]
        mask = found.mask & (sides.min(axis=-1) > LEAST_SIDE)
        return Detections(
            boxes_xyxy=jnp.where(mask[..., None], boxes_xyxy, 0),
            scores=jnp.where(mask, found.scores, 0),
            labels=jnp.where(mask, found.labels, 0),
            mask=mask,
        )

    return predict


class Predictor:
    """Images of any size in, boxes out; compiles once.

    Images are letterboxed to one size and go through the network in batches of one size, the last
    of which is padded. The host prepares a batch while the device computes the one before.
    """

    def __init__(
        self,
        module: Detector,
        variables: Mapping,
        *,
        image_size: int | tuple[int, int],
        nms: NmsConfig | None = None,
        classes: Collection[int] | None = None,
        suppress: Callable[..., Detections] = non_max_suppression,
        views: Sequence[View] = AS_IT_IS,
        batch_size: int = 1,
    ):
        """Places the variables on the device.

        Args:
            module: the network, built with ``fused=True`` if the variables are folded.
            variables: its variables.
            image_size: side of the network's square input in pixels, or (height, width);
                multiples of the largest stride.
            nms: what is a detection; ``NmsConfig()`` if left out.
            classes: numbers of the classes to look for; all if None.
            suppress: see `make_predict`.
            views: of each image, see `make_predict`.
            batch_size: how many images go through the network together.

        Raises:
            InputError: an image size that does not fit (the message names those that do), or a
                batch size below 1.
        """
        self.size = (image_size, image_size) if isinstance(image_size, int) else image_size
        require_multiple(self.size, module.spec.strides[-1])
        if batch_size < 1:
            raise InputError(f"got batch_size={batch_size}; it must be positive")
        self.batch_size = batch_size
        self._variables = jax.device_put(dict(variables))
        self._predict = jax.jit(
            make_predict(
                module, nms or NmsConfig(), classes=classes, suppress=suppress, views=views
            )
        )

    def __call__(self, images: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> list[Prediction]:
        """Finds the objects in images.

        Args:
            images: RGB, uint8, [H, W, 3], any sizes. They are read one batch at a time, so a
                generator of many will do.

        Returns:
            One ``Prediction`` per image, in their order.

        Raises:
            TypeError: an image is not uint8.
            InputError: an image is not [H, W, 3] with at least one pixel. Nothing is guessed about
                grey or transparent images: convert them first.
        """
        results: list[Prediction] = []
        batch: list[np.ndarray] = []
        waiting: tuple[Detections, int] | None = None
        for position, image in enumerate(images):
            batch.append(check_image(image, f"image {position}"))
            if len(batch) == self.batch_size:
                started, batch = self._start(batch), []
                results += _fetch(waiting)
                waiting = started
        started = self._start(batch) if batch else None
        return results + _fetch(waiting) + _fetch(started)

    def _start(self, images: Sequence[np.ndarray]) -> tuple[Detections, int]:
        """Sends a batch to the device; returns what will be its detections, and its real size."""
        pairs = [letterbox_image(image, self.size) for image in images]
        sizes = [image.shape[:2] for image in images]
        missing = self.batch_size - len(images)
        pairs += pairs[:1] * missing
        sizes += sizes[:1] * missing
        arrays = (
            np.stack([canvas for canvas, _ in pairs]),
            np.stack([letterbox for _, letterbox in pairs]),
            np.array(sizes, np.int32),
        )
        return self._predict(self._variables, *jax.device_put(arrays)), len(images)


def check_image(image, name: str) -> np.ndarray:
    """Returns the image if it is RGB uint8 [H, W, 3]; else raises, with ``name`` in the message."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = getattr(image, "dtype", type(image).__name__)
        raise TypeError(f"{name} is {got}, expected a NumPy array of uint8, 0..255")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f"{name} has shape {image.shape}, expected RGB [height, width, 3]; for a grey image "
            "stack it three times (np.stack([grey] * 3, axis=-1)), and of RGBA take image[..., :3]"
        )
    return image


def split_detections(detections: Detections) -> list[Prediction]:
    """Fetches the detections of a batch from the device and cuts off what is masked out.

    Args:
        detections: [B, D, ...], on the device or the host.

    Returns:
        One ``Prediction`` for each of the B images.
    """
    boxes_xyxy, scores, labels, mask = jax.device_get(detections)
    return [
        Prediction(boxes_xyxy[i, mask[i]], scores[i, mask[i]], labels[i, mask[i]])
        for i in range(len(mask))
    ]


def _fetch(waiting: tuple[Detections, int] | None) -> list[Prediction]:
    if waiting is None:
        return []
    detections, real = waiting
    return split_detections(detections)[:real]
