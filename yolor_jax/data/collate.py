"""Batches out of positions: read, decode, letterbox, pad.

Threads share the images of a batch, because cv2 releases the interpreter while it decodes and
resizes; each image goes straight to its place in the batch, which is allocated once.

    loader = BatchLoader(source, size=(640, 640), max_targets=128, threads=16)
    batch, overflows = loader([17, 3, 8, -1])  # -1: no image, `valid` is false
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from yolor_jax.data.example import Batch, Examples
from yolor_jax.data.letterbox import BORDER, letterbox
from yolor_jax.data.scaled import decode_scaled
from yolor_jax.errors import InputError

Fit = Callable[..., tuple[np.ndarray, np.ndarray]]
"""``(image, size, out=canvas) -> (canvas, (scale, pad_x, pad_y))``, such as `letterbox`."""


class Overflow(NamedTuple):
    """An image with more objects than a batch has room for; crowds are none."""

    name: str
    objects: int


class BatchLoader:
    """Makes batches of one size; may be sent to another process, which starts its own threads."""

    def __init__(
        self,
        source: Examples,
        *,
        size: tuple[int, int],
        max_targets: int,
        threads: int,
        fit: Fit = letterbox,
        scaled_decode: bool = False,
    ):
        """Remembers what batches are made of.

        Args:
            source: the split.
            size: height and width of the canvas in pixels.
            max_targets: targets per image; of an image that has more, the largest are kept,
                objects before crowds.
            threads: threads that read and decode.
            fit: paints an image on its canvas; may be sent to another process.
            scaled_decode: whether images are decoded as small as will do for the canvas
                (`data.scaled`).
        """
        self._source = source
        self._size = size
        self._fit = fit
        self._enough_hw = size if scaled_decode else None
        self.max_targets = max_targets
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}

    def empty(self, count: int) -> Batch:
        """An array for each field of a batch of so many images; what is in them means nothing."""
        targets = self.max_targets
        return Batch(
            image=np.empty((count, *self._size, 3), np.uint8),
            boxes_xyxy=np.empty((count, targets, 4), np.float32),
            labels=np.empty((count, targets), np.int32),
            mask=np.empty((count, targets), bool),
            is_crowd=np.empty((count, targets), bool),
            index=np.empty(count, np.int32),
            original_size=np.empty((count, 2), np.int32),
            letterbox=np.empty((count, 3), np.float32),
            valid=np.empty(count, bool),
            identity=np.empty((count, targets), np.int32),
        )

    def __call__(self, positions: Sequence[int]) -> tuple[Batch, list[Overflow]]:
        """A new batch, see `fill`."""
        batch = self.empty(len(positions))
        return batch, self.fill(batch, positions)

    def fill(self, batch: Batch, positions: Sequence[int]) -> list[Overflow]:
        """Writes the images at `positions` of the split into a batch.

        Returns:
            Those that have too many targets.

        Raises:
            InputError: if an image cannot be decoded; names it.
        """
        if self._pool is None:
            cv2.setNumThreads(0)  # one image per thread, not many threads per image
            self._pool = ThreadPoolExecutor(self._threads)
        overflows = self._pool.map(
            self._load, positions, itertools.count(), itertools.repeat(batch)
        )
        return [overflow for overflow in overflows if overflow is not None]

    def _load(self, position: int, row: int, batch: Batch) -> Overflow | None:
        """Fills a row of a batch; a position of -1 leaves it without an image."""
        batch.boxes_xyxy[row], batch.labels[row] = 0.0, 0
        batch.mask[row], batch.is_crowd[row] = False, False
        batch.identity[row] = -1
        batch.index[row], batch.valid[row] = position, position >= 0
        if position < 0:
            batch.image[row] = BORDER
            batch.original_size[row] = self._size
            batch.letterbox[row] = 1, 0, 0
            return None
        example = self._source[position]
        try:
            picture = decode_scaled(example.jpeg, self._enough_hw)
        except ValueError as error:
            name = self._source.name(position)
            raise InputError(f"image {name} (position {position}): {error}") from error
        _, parameters = self._fit(picture.image, self._size, out=batch.image[row])
        parameters = picture.letterbox_of_whole(parameters)
        scale, pad_x, pad_y = parameters
        boxes = example.boxes_xyxy * scale + np.stack([pad_x, pad_y, pad_x, pad_y])
        kept = _largest(boxes, example.is_crowd, self.max_targets)
        batch.boxes_xyxy[row, : len(kept)] = boxes[kept]
        batch.labels[row, : len(kept)] = example.labels[kept]
        batch.is_crowd[row, : len(kept)] = example.is_crowd[kept]
        batch.mask[row, : len(kept)] = True
        if example.identity is not None:
            batch.identity[row, : len(kept)] = example.identity[kept]
        batch.original_size[row] = picture.size_hw
        batch.letterbox[row] = parameters
        objects = len(boxes) - int(example.is_crowd.sum())
        if objects > self.max_targets > 0:
            return Overflow(self._source.name(position), objects)
        return None


def _largest(boxes_xyxy: np.ndarray, is_crowd: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest boxes, in their order; crowds only where objects leave room,
    for nothing is learnt from them.
    """
    if len(boxes_xyxy) <= count:
        return np.arange(len(boxes_xyxy))
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    return np.sort(np.lexsort((-areas, is_crowd))[:count])
