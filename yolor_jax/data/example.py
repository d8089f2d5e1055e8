"""Example and Batch: the one format between host and device.

A source hands out `Example`s (encoded image, boxes in pixels of the original image); the pipeline
turns them into `Batch`es of static shape; augmentation, training step, prediction and evaluation
read `Batch`es and nothing else. Axis names: ``B`` images, ``T`` padded targets, ``H W`` canvas.

    batch = next(train_batches(source, image_size=640, batch_size=16, max_targets=128, seed=0))
    batch.image.shape  # (16, 640, 640, 3)
    batch.boxes_xyxy[batch.mask]  # all targets of the batch, [n, 4]
"""

from typing import NamedTuple, Protocol, SupportsIndex, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

Array = np.ndarray | jax.Array
"""NumPy on the host, JAX on the device."""


class Example(NamedTuple):
    """One image of a data set as it is stored, with its objects.

    Attributes:
        jpeg: encoded image, JPEG as a rule (any format that OpenCV decodes). Its stored pixels are
            what the boxes refer to: an EXIF orientation in it is to be ignored.
        boxes_xyxy: left, top, right, bottom in pixels of the original image, inside the image.
        labels: class of each object, 0 .. K - 1.
        is_crowd: true where a box stands for a group of objects.
        index: position in the split.
        identity: number of each object's identity in the split, 0 .. I - 1; -1 where it has none.
            None where no object of the split has one.
    """

    jpeg: bytes
    boxes_xyxy: Float32[np.ndarray, "n 4"]
    labels: Int32[np.ndarray, " n"]
    is_crowd: Bool[np.ndarray, " n"]
    index: int
    identity: Int32[np.ndarray, " n"] | None = None


@runtime_checkable
class Examples(Protocol):
    """What the pipeline reads from: a `Source`, or anything else with random access."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, index: SupportsIndex) -> Example:
        """Reads one image; called from several threads."""
        ...

    def name(self, index: SupportsIndex) -> str:
        """File name of an image, for messages."""
        ...


class Batch(NamedTuple):
    """Images of static size with padded targets. Host and device agree on nothing else.

    Attributes:
        image: RGB, letterboxed.
        boxes_xyxy: left, top, right, bottom in pixels of the network input; zeros where `mask` is
            false.
        labels: class of each target; 0 where `mask` is false.
        mask: true where there is a target, crowd or not.
        is_crowd: true where the target stands for a group of objects.
        index: position of the image in its split; -1 where `valid` is false.
        original_size: height, width of the original image in pixels.
        letterbox: ``(scale, pad_x, pad_y)``; network_x = original_x * scale + pad_x.
        valid: false for the images that fill up the last batch of an evaluation.
        identity: number of the identity of each target, the same in all images that show it; -1
            where it has none.
    """

    image: UInt8[Array, "B H W 3"]
    boxes_xyxy: Float32[Array, "B T 4"]
    labels: Int32[Array, "B T"]
    mask: Bool[Array, "B T"]
    is_crowd: Bool[Array, "B T"]
    index: Int32[Array, " B"]
    original_size: Int32[Array, "B 2"]
    letterbox: Float32[Array, "B 3"]
    valid: Bool[Array, " B"]
    identity: Int32[Array, "B T"]

    @property
    def identified(self) -> Bool[Array, "B T"]:
        """The mask of `identity`."""
        return self.identity >= 0
