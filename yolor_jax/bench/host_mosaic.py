"""The baseline of ``yolor bench data``: a training image as the original makes it, on the host.

Four images are decoded and scaled to the network's size, pasted around a random centre into a
canvas of twice its side, scaled and moved at random into an image of one side, jittered in HSV by
lookup tables and flipped. Boxes, which cost little, are left out.

    image = make_mosaic(source, [3, 17, 5, 8], side=640, generator=np.random.default_rng(0))
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from yolor_jax.data.example import Examples
from yolor_jax.data.letterbox import BORDER

TRANSLATE, SCALE = 0.1, 0.9
HSV_GAINS = (0.015, 0.7, 0.4)
"""The original's settings at 640 pixels from scratch."""

Image = UInt8[np.ndarray, "_ _ 3"]


def make_mosaic(
    source: Examples, positions: Sequence[int], *, side: int, generator: np.random.Generator
) -> UInt8[np.ndarray, "3 side side"]:
    """One training image out of four of the split.

    Args:
        source: the split.
        positions: of the four images.
        side: pixels of the result.
        generator: of everything random.

    Returns:
        RGB, channels first.
    """
    images = [load(source[position].jpeg, side) for position in positions]
    y, x = generator.uniform(side / 2, 3 * side / 2, 2)
    canvas = paste(images, (int(y), int(x)), side)
    scale = generator.uniform(1 - SCALE, 1 + SCALE)
    moved = generator.uniform(0.5 - TRANSLATE, 0.5 + TRANSLATE, 2)
    factors = 1 + generator.uniform(-1, 1, 3) * HSV_GAINS
    image = scale_hsv(warp(canvas, scale, moved, side), factors)
    if generator.random() < 0.5:
        image = image[:, ::-1]
    return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1))


def load(jpeg: bytes, side: int) -> Image:
    """Decodes to BGR and scales the longer side to ``side``; sides are cut to whole pixels."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    ratio = side / max(height, width)
    if ratio == 1:
        return image
    size = (int(width * ratio), int(height * ratio))
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def paste(images: Sequence[Image], centre: tuple[int, int], side: int) -> Image:
    """Four images that meet at ``centre`` (y, x), cut at the border of a canvas of twice the side.

    They stand top left, top right, bottom left, bottom right.
    """
    canvas = np.full((2 * side, 2 * side, 3), BORDER, np.uint8)
    for place, image in enumerate(images):
        height, width = image.shape[:2]
        top = centre[0] - height if place < 2 else centre[0]
        left = centre[1] - width if place % 2 == 0 else centre[1]
        rows = slice(max(top, 0), min(top + height, 2 * side))
        columns = slice(max(left, 0), min(left + width, 2 * side))
        cut = image[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        canvas[rows, columns] = cut
    return canvas


def warp(canvas: Image, scale: float, moved: Float64[np.ndarray, "2"], side: int) -> Image:
    """Scales the canvas about its middle, which comes to lie at ``moved * side`` (x, y)."""
    middle = np.array([canvas.shape[1], canvas.shape[0]]) / 2
    offset = moved * side - scale * middle
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return cv2.warpAffine(canvas, matrix, (side, side), borderValue=(BORDER,) * 3)


def scale_hsv(image: Image, factors: Float64[np.ndarray, "3"]) -> Image:
    """Multiplies hue, saturation and value by one factor each, through lookup tables of bytes."""
    levels = np.arange(256)
    tables = [levels * factors[0] % 180, *(np.clip(levels * f, 0, 255) for f in factors[1:])]
    channels = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    scaled = [
        cv2.LUT(channel, table.astype(np.uint8))
        for channel, table in zip(channels, tables, strict=True)
    ]
    return cv2.cvtColor(cv2.merge(scaled), cv2.COLOR_HSV2BGR)
