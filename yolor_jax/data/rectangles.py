"""Rectangular evaluation: canvases that follow the images, with less grey border to compute on.

The original's rule, to the pixel. Images are sorted by aspect ratio, each batch gets the smallest
canvas on a grid of 64 pixels that holds all of its images, with half a grid step as a margin, and
an image is first scaled so that its longer side is the image size. Sorted batches share few
canvases, and each of them is one compilation.

    for positions, size in plan(sizes_hw, image_size=640, batch_size=32): ...
    canvas, (scale, pad_x, pad_y) = fit(image, (384, 640), longest=640)
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8

from yolor_jax.data.letterbox import letterbox
from yolor_jax.errors import InputError

GRID = 64
"""Pixels of which both sides of a canvas are a multiple, for networks of stride 32 too."""


class Rectangle(NamedTuple):
    """A batch and its canvas.

    Attributes:
        positions: of the images in the split; the last batch may have fewer.
        size: height and width of the canvas in pixels.
    """

    positions: list[int]
    size: tuple[int, int]


def plan(
    sizes_hw: Int[np.ndarray, "N 2"],
    *,
    image_size: int,
    batch_size: int,
    grid: int = GRID,
    margin: float = 0.5,
) -> list[Rectangle]:
    """The batches of a split, by rising ratio of height to width; ties stay in their order.

    Args:
        sizes_hw: height and width of each image in pixels.
        image_size: pixels of an image's longer side.
        batch_size: images of each batch.
        grid: pixels of which both sides of a canvas are a multiple; one of the largest stride.
        margin: grid steps that a canvas is larger than its images, before rounding up.

    Raises:
        InputError: the batch size is below 1.
    """
    if batch_size < 1:
        raise InputError(f"got batch_size={batch_size}; expected at least one image")
    ratios = sizes_hw[:, 0] / sizes_hw[:, 1]
    order = np.argsort(ratios, kind="stable")
    batches = []
    for first in range(0, len(order), batch_size):
        positions = order[first : first + batch_size]
        least, most = ratios[positions[0]], ratios[positions[-1]]
        shape = (most, 1.0) if most < 1 else (1.0, 1 / least) if least > 1 else (1.0, 1.0)
        height, width = (math.ceil(side * image_size / grid + margin) * grid for side in shape)
        batches.append(Rectangle(positions.tolist(), (height, width)))
    return batches


def fit(
    image: UInt8[np.ndarray, "h w 3"],
    size: tuple[int, int],
    *,
    longest: int,
    out: UInt8[np.ndarray, "H W 3"] | None = None,
) -> tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "3"]]:
    """Scales an image to its longest side, sides truncated, and centres it on a canvas.

    Args:
        image: any size from 1 x 1 on.
        size: height and width of the canvas in pixels; it holds the scaled image.
        longest: pixels of the longer side of the scaled image.
        out: see `letterbox`.

    Returns:
        The canvas, and ``(scale, pad_x, pad_y)``. The scale is that of the height: truncation makes
        that of the width differ by less than a pixel over the image, which the original takes for
        nothing too.

    Raises:
        InputError: as `letterbox`.
    """
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale != 1:
        sides = max(int(width * scale), 1), max(int(height * scale), 1)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, sides, interpolation=how)
    canvas, (_, pad_x, pad_y) = letterbox(image, size, scaleup=False, out=out)
    return canvas, np.array([image.shape[0] / height, pad_x, pad_y], np.float32)
