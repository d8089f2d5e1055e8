"""The one way from an image to boxes: letterbox, network, decode, suppress, back to the original.

``make_predict`` gives the part that runs on the device, as a pure function; evaluation jits it over
batches that the pipeline has letterboxed. ``Predictor`` wraps it for images of any size. Both take
a module with its variables, folded (``models.fold``) or not.

Example:
    >>> predictor = Predictor(module, variables, image_size=640)
    >>> [prediction] = predictor([image])           # RGB uint8 [H, W, 3]
    >>> prediction.boxes_xyxy, prediction.scores, prediction.labels
"""

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from yolor_jax import boxes
from yolor_jax.data.letterbox import letterbox as letterbox_image
from yolor_jax.data.letterbox import smallest_letterbox
from yolor_jax.detection.decode import Decoded, decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.batching import batches_by_shape, in_order
from yolor_jax.inference.views import AS_IT_IS, View, decode_views
from yolor_jax.models.detector import Detector, normalise, require_multiple

LEAST_SIDE = 0.1  # pixels of the original image that must be left of a box in its border

MOST_WAITING = 8
"""Batches' worth of images behind one that waits for others of its shape."""

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


class Prepared(NamedTuple):
    """An image as the network takes it.

    Attributes:
        canvas: the letterboxed image.
        letterbox: scale, pad_x, pad_y, in pixels of the canvas.
        size_hw: of the image.
    """

    canvas: UInt8[np.ndarray, "H W 3"]
    letterbox: Float32[np.ndarray, "3"]
    size_hw: tuple[int, int]


class Predictor:
    """Images of any size in, boxes out; compiles once, or once for each canvas.

    Images are letterboxed to one size and go through the network in batches of one size, the last
    of which is padded. The host prepares a batch while the device computes the one before. All
    methods may be called from several threads.

    Attributes:
        size: height and width of the network's input; with ``rect``, of the largest.
        batch_size: how many images go through the network together.
        compile_seconds: that compilation has taken until now.
        busy_seconds: in which the device has worked on batches until now.
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
        rect: bool = False,
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
            rect: each image gets the smallest canvas on which its longer side has ``image_size``
                pixels, the original's way; each shape of canvas is compiled once.
            batch_size: how many images go through the network together.

        Raises:
            InputError: an image size that does not fit (the message names those that do), or a
                batch size below 1.
        """
        self.size = (image_size, image_size) if isinstance(image_size, int) else image_size
        require_multiple(self.size, module.spec.strides[-1])
        if batch_size < 1:
            raise InputError(f"got batch_size={batch_size}; it must be positive")
        if rect and self.size[0] != self.size[1]:
            raise InputError(f"got rect with the size {self.size}; expected one side, in pixels")
        self.batch_size = batch_size
        self.compile_seconds = self.busy_seconds = 0.0
        self._letterbox = (
            functools.partial(smallest_letterbox, size=self.size[0], grid=module.spec.strides[-1])
            if rect
            else functools.partial(letterbox_image, size=self.size)
        )
        self._variables = jax.device_put(dict(variables))
        self._predict = jax.jit(
            make_predict(
                module, nms or NmsConfig(), classes=classes, suppress=suppress, views=views
            )
        )
        self._compiled: set[tuple[int, ...]] = set()
        self._last_done = 0.0
        self._lock = threading.Lock()

    def __call__(self, images: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> list[Prediction]:
        """Finds the objects in images; see `each`."""
        return list(self.each(images))

    def each(self, images: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> Iterator[Prediction]:
        """Finds the objects in images, one after the other.

        Args:
            images: RGB, uint8, [H, W, 3], any sizes. They are taken a few batches ahead of the
                predictions that are asked for, so that an endless generator will do.

        Yields:
            One ``Prediction`` per image, in their order.

        Raises:
            TypeError: an image is not uint8.
            InputError: an image is not [H, W, 3] with at least one pixel. Nothing is guessed about
                grey or transparent images: convert them first.
        """
        checked = (check_image(image, f"image {i}") for i, image in enumerate(images))
        return self.each_prepared(map(self.prepare, checked))

    def prepare(self, image: UInt8[np.ndarray, "_ _ 3"]) -> Prepared:
        """The host's part, which threads may do beside the device.

        Args:
            image: RGB, any size.
        """
        canvas, letterbox = self._letterbox(image)
        return Prepared(canvas, letterbox, image.shape[:2])

    def each_prepared(self, prepared: Iterable[Prepared]) -> Iterator[Prediction]:
        """As `each`, of images that went through `prepare`."""
        batches = batches_by_shape(
            prepared,
            lambda one: one.canvas.shape,
            batch_size=self.batch_size,
            most_waiting=MOST_WAITING * self.batch_size,
        )
        return in_order(self._numbered(batches))

    def _numbered(
        self, batches: Iterable[list[tuple[int, Prepared]]]
    ) -> Iterator[tuple[int, Prediction]]:
        """Positions and predictions of each batch, while the device computes the next one."""
        running = collections.deque()
        with ThreadPoolExecutor(1) as fetching:  # notices at once when the device is done
            for batch in batches:
                positions, images = zip(*batch, strict=True)
                detections, started = self._start(images)
                fetched = fetching.submit(self._fetch, detections, started)
                running.append((positions, fetched))
                if len(running) > 1:
                    positions, fetched = running.popleft()
                    yield from zip(positions, fetched.result(), strict=False)  # without padding
            for positions, fetched in running:
                yield from zip(positions, fetched.result(), strict=False)

    def _start(self, images: Sequence[Prepared]) -> tuple[Detections, float]:
        """Sends a batch to the device; returns what will be its detections, and when."""
        images = [*images, *images[:1] * (self.batch_size - len(images))]
        canvases, letterboxes, sizes_hw = zip(*images, strict=True)
        arrays = np.stack(canvases), np.stack(letterboxes), np.array(sizes_hw, np.int32)
        with self._lock:  # two threads that come first would both compile
            before = time.perf_counter()
            detections = self._predict(self._variables, *jax.device_put(arrays))
            if arrays[0].shape in self._compiled:
                return detections, before
            self._compiled.add(arrays[0].shape)
            self.compile_seconds += time.perf_counter() - before
            return detections, time.perf_counter()

    def _fetch(self, detections: Detections, started: float) -> list[Prediction]:
        """Waits for the predictions of a batch, padding included."""
        jax.block_until_ready(detections)
        with self._lock:
            done = time.perf_counter()
            self.busy_seconds += done - max(started, self._last_done)
            self._last_done = done
        return split_detections(detections)


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
