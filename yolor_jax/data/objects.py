"""The objects of a whole split, without its pixels: what sampling and anchors look at.

    objects = all_objects(source)
    np.bincount(objects.labels)                                # objects of each class
    network_sizes(some_objects(source, 1000, seed=0), 640)     # [M, 2] at 640 pixels

A split that was prepared here has a file of them beside its records. Of any other TFDS directory
the records have to be read, images included.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from yolor_jax.data.encoded import read_header
from yolor_jax.data.sources import Source
from yolor_jax.data.subset import Subset

Split = Source | Subset
MOST_IMAGES = 1000
"""That are read where no file has the objects of all, and a sample will do."""


class Objects(NamedTuple):
    """The objects of N images that are no crowds.

    Attributes:
        image: the image of each object, 0 .. N - 1.
        boxes_xyxy: in pixels of that image.
        labels: classes, 0 .. K - 1.
        size_hw: height and width of each image in pixels.
    """

    image: Int64[np.ndarray, " M"]
    boxes_xyxy: Float32[np.ndarray, "M 4"]
    labels: Int32[np.ndarray, " M"]
    size_hw: Int32[np.ndarray, "N 2"]


def all_objects(source: Split) -> Objects:
    """The objects of every image; reads the whole split once if no file has them."""
    targets = source.targets
    if targets is None or targets.size_hw is None:
        return _read(source, range(len(source)))
    image = np.repeat(np.arange(len(source)), np.diff(targets.start))
    kept = ~targets.is_crowd
    return Objects(image[kept], targets.boxes_xyxy[kept], targets.labels[kept], targets.size_hw)


def some_objects(source: Split, images: int, *, seed: int) -> Objects:
    """The objects of every image if a file has them, otherwise of some drawn at random.

    Args:
        source: a split.
        images: how many are read where no file has the objects of all.
        seed: of the draw.
    """
    targets = source.targets
    if len(source) <= images or (targets is not None and targets.size_hw is not None):
        return all_objects(source)
    drawn = np.random.default_rng(seed).choice(len(source), images, replace=False)
    return _read(source, sorted(drawn.tolist()))


def network_sizes(objects: Objects, image_size: int) -> Float[np.ndarray, "M 2"]:
    """Width and height of the objects when their images fill a square of ``image_size`` pixels.

    Those without any width or height are left out.
    """
    sizes_wh = (objects.boxes_xyxy[:, 2:] - objects.boxes_xyxy[:, :2]).astype(np.float64)
    scale = image_size / objects.size_hw.max(axis=1)[objects.image]  # [M]
    sizes_wh = sizes_wh * scale[:, None]
    return sizes_wh[(sizes_wh > 0).all(axis=1)]


def _read(source: Split, positions: Iterable[int]) -> Objects:
    """The objects of some images, out of their records; no image is decoded."""
    image, boxes, labels, sizes = [], [], [], []
    for number, position in enumerate(positions):
        example = source[position]
        kept = ~example.is_crowd
        image.append(np.full(kept.sum(), number))
        boxes.append(example.boxes_xyxy[kept])
        labels.append(example.labels[kept])
        sizes.append(read_header(example.jpeg)[:2])
    return Objects(
        np.concatenate(image),
        np.concatenate(boxes),
        np.concatenate(labels),
        np.array(sizes, np.int32),
    )
