"""The one way from an image to boxes: letterbox, network, decode, suppress, back to the original.

The part that runs on the device is in `inference.prediction`; here it is wrapped for images of any
size, one after the other or as many as there are.

Example:
    >>> predictor = Predictor(module, variables, image_size=640)
    >>> [prediction] = predictor([image])           # RGB uint8 [H, W, 3]
    >>> prediction.boxes_xyxy, prediction.scores, prediction.labels
"""

import collections
import functools
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from yolor_jax.data import rectangles
from yolor_jax.data.letterbox import letterbox as letterbox_image
from yolor_jax.data.letterbox import smallest_letterbox
from yolor_jax.data.scaled import Scaled, whole
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.batching import batches_by_shape, in_order
from yolor_jax.inference.prediction import (
    NmsConfig,
    Prediction,
    make_describe,
    make_predict,
    split_detections,
)
from yolor_jax.inference.views import AS_IT_IS, View
from yolor_jax.models.detector import Detector, require_multiple

MOST_WAITING = 8
"""Batches' worth of images behind one that waits for others of its shape."""

Letterbox = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Compute = Callable[..., tuple[Detections, Any]]


class Prepared(NamedTuple):
    """An image as the network takes it.

    Attributes:
        canvas: the letterboxed image.
        letterbox: scale, pad_x, pad_y of the image in pixels of the canvas.
        size_hw: of the image, of which the canvas may show fewer pixels than it has.
    """

    canvas: UInt8[np.ndarray, "H W 3"]
    letterbox: Float32[np.ndarray, "3"]
    size_hw: tuple[int, int]


class BatchPredictor:
    """Images of any size in, boxes out, by whatever computes the boxes of a batch of canvases.

    Images are letterboxed to one size and go through the network in batches of one size, the last
    of which is padded. The host prepares a batch while the device computes the one before. All
    methods may be called from several threads.

    Attributes:
        size: height and width of the network's input; with ``rect``, of the largest.
        batch_size: how many images go through the network together.
        enough_hw: height and width of the letterbox for which files are decoded as small as will
            do (`data.scaled`); None where they are decoded whole.
        compile_seconds: that compilation has taken until now.
        busy_seconds: in which the device has worked on batches until now.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        size: tuple[int, int],
        letterbox: Letterbox,
        batch_size: int,
        scaled_decode: bool = False,
    ):
        """Keeps what computes.

        Args:
            compute: ``(images, letterboxes, sizes) -> (detections, vectors)``, as `make_predict`
                has them but for the variables.
            size: height and width of the network's input, or of the largest.
            letterbox: an image to its canvas and ``(scale, pad_x, pad_y)``.
            batch_size: how many images go through the network together.
            scaled_decode: whether files are decoded as small as will do, see `Predictor`.

        Raises:
            InputError: a batch size below 1.
        """
        if batch_size < 1:
            raise InputError(f"got batch_size={batch_size}; it must be positive")
        self.size = size
        self.batch_size = batch_size
        self.enough_hw = size if scaled_decode else None
        self.compile_seconds = self.busy_seconds = 0.0
        self._compute = compute
        self._letterbox = letterbox
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
        return self.prepare_scaled(whole(image))

    def prepare_scaled(self, picture: Scaled) -> Prepared:
        """As `prepare`, of a picture that may be decoded smaller than it is.

        Args:
            picture: of `data.scaled`, for `enough_hw`.
        """
        canvas, letterbox = self._letterbox(picture.image)
        return Prepared(canvas, picture.letterbox_of_whole(letterbox), picture.size_hw)

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
                answer, started = self._start(images)
                fetched = fetching.submit(self._fetch, answer, started)
                running.append((positions, fetched))
                if len(running) > 1:
                    positions, fetched = running.popleft()
                    yield from zip(positions, fetched.result(), strict=False)  # without padding
            for positions, fetched in running:
                yield from zip(positions, fetched.result(), strict=False)

    def _start(self, images: Sequence[Prepared]) -> tuple[Any, float]:
        """Sends a batch to the device; returns what will be its answer, and when."""
        images = [*images, *images[:1] * (self.batch_size - len(images))]
        canvases, letterboxes, sizes_hw = zip(*images, strict=True)
        arrays = np.stack(canvases), np.stack(letterboxes), np.array(sizes_hw, np.int32)
        with self._lock:  # two threads that come first would both compile
            before = time.perf_counter()
            answer = self._compute(*jax.device_put(arrays))
            if arrays[0].shape in self._compiled:
                return answer, before
            self._compiled.add(arrays[0].shape)
            self.compile_seconds += time.perf_counter() - before
            return answer, time.perf_counter()

    def _fetch(self, answer: Any, started: float) -> list[Prediction]:
        """Waits for the predictions of a batch, padding included."""
        jax.block_until_ready(answer)
        done = time.perf_counter()  # before the lock: whoever compiles has it for long
        with self._lock:
            self.busy_seconds += done - max(started, self._last_done)
            self._last_done = done
        return split_detections(*answer)


class Predictor(BatchPredictor):
    """A `BatchPredictor` of a network; compiles once, or once for each canvas."""

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
        embed: bool = False,
        batch_size: int = 1,
        scaled_decode: bool = False,
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
            embed: whether predictions have vectors, of a network that has embedding.
            batch_size: how many images go through the network together.
            scaled_decode: whether whoever reads files for it decodes a JPEG at a half, a quarter or
                an eighth of its sides where the network takes no more pixels (`data.scaled`):
                faster, with boxes that differ a little.

        Raises:
            InputError: an image size that does not fit (the message names those that do), a batch
                size below 1, or a network without embedding.
        """
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        require_multiple(size, module.spec.strides[-1])
        if rect and size[0] != size[1]:
            raise InputError(f"got rect with the size {size}; expected one side, in pixels")
        grid = max(rectangles.GRID, module.spec.strides[-1])
        letterbox = (
            functools.partial(smallest_letterbox, size=size[0], grid=grid)
            if rect
            else functools.partial(letterbox_image, size=size)
        )
        variables = jax.device_put(dict(variables))
        predict = make_predict(
            module, nms or NmsConfig(), classes=classes, suppress=suppress, views=views
        )
        describe = make_describe(module) if embed else lambda *_: None

        def predict_and_describe(variables, image, letterbox, original_size):
            detections = predict(variables, image, letterbox, original_size)
            return detections, describe(variables, image, letterbox, detections)

        self._predict = jax.jit(predict_and_describe)
        # Variables are an argument: constants would be copied into every compiled program.
        compute = functools.partial(self._predict, variables)
        super().__init__(
            compute,
            size=size,
            letterbox=letterbox,
            batch_size=batch_size,
            scaled_decode=scaled_decode,
        )


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
