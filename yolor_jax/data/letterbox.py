"""Letterbox: scale an image to fit into a canvas and fill the rest with grey.

The rule of the original detector, to the pixel: the sides are scaled by one factor and rounded half
to even, the image is resized bilinearly (only if its size changes) and stands in the middle. Where
an odd number of rows or columns is left, the extra one is on the right or at the bottom, and the
returned padding keeps the half: network coordinates then lie half a pixel right of (below) the
pixels, as in the original.

    canvas, (scale, pad_x, pad_y) = letterbox(image, (640, 640))
    network_x = original_x * scale + pad_x
"""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from yolor_jax.errors import InputError

BORDER = 114
"""Grey level of the border, all channels."""


def letterbox(
    image: UInt8[np.ndarray, "h w 3"],
    size: tuple[int, int],
    *,
    scaleup: bool = True,
    out: UInt8[np.ndarray, "H W 3"] | None = None,
) -> tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "3"]]:
    """Scales `image` to fit into a canvas of `size`, keeping its aspect ratio.

    Args:
        image: any size from 1 x 1 on; the channel order does not matter.
        size: height and width of the canvas in pixels.
        scaleup: whether an image smaller than the canvas is enlarged.
        out: where to paint the canvas, such as a row of a batch; a new array if None.

    Returns:
        The canvas, and ``(scale, pad_x, pad_y)`` in pixels of the canvas. A side never shrinks
        below one pixel (1 x 1000 to 320: the height would round to zero).

    Raises:
        InputError: if the image or the canvas has a side of zero, or `out` is of another size.
    """
    height, width = image.shape[:2]
    canvas_height, canvas_width = size
    if min(height, width, canvas_height, canvas_width) < 1:
        raise InputError(
            f"got an image of {height} x {width} and a canvas of {canvas_height} x {canvas_width} "
            "pixels; every side must have at least one pixel"
        )
    canvas = np.empty((canvas_height, canvas_width, 3), np.uint8) if out is None else out
    if canvas.shape[:2] != size:
        raise InputError(f"got a canvas of {canvas.shape[:2]}; expected the size {size}")
    scale = min(canvas_height / height, canvas_width / width)
    if not scaleup:
        scale = min(scale, 1.0)
    return canvas, _paint(image, scale, canvas)


def smallest_letterbox(
    image: UInt8[np.ndarray, "h w 3"], size: int, *, grid: int
) -> tuple[UInt8[np.ndarray, "H W 3"], Float32[np.ndarray, "3"]]:
    """As `letterbox`, on the smallest canvas of a grid on which the image is scaled the same.

    Args:
        image: any size from 1 x 1 on.
        size: pixels of the longer side of the scaled image; a multiple of ``grid``.
        grid: pixels of which both sides of the canvas are a multiple.

    Raises:
        InputError: the image has a side of zero.
    """
    height, width = image.shape[:2]
    if min(height, width) < 1:
        raise InputError(f"got an image of {height} x {width} pixels; expected one pixel at least")
    scale = size / max(height, width)
    sides = (max(round(side * scale), 1) for side in (height, width))
    canvas = np.empty((*(side + (size - side) % grid for side in sides), 3), np.uint8)
    return canvas, _paint(image, scale, canvas)


def _paint(image: np.ndarray, scale: float, canvas: np.ndarray) -> Float32[np.ndarray, "3"]:
    """Scales an image and centres it on a canvas; returns ``(scale, pad_x, pad_y)``."""
    height, width = image.shape[:2]
    new_height = max(round(height * scale), 1)
    new_width = max(round(width * scale), 1)
    pad_x = (canvas.shape[1] - new_width) / 2
    pad_y = (canvas.shape[0] - new_height) / 2
    top, left = round(pad_y - 0.1), round(pad_x - 0.1)
    bottom, right = top + new_height, left + new_width
    canvas[:top], canvas[bottom:] = BORDER, BORDER
    canvas[top:bottom, :left], canvas[top:bottom, right:] = BORDER, BORDER
    inside = canvas[top:bottom, left:right]
    if (new_height, new_width) == (height, width):
        inside[:] = image
    else:
        cv2.resize(image, (new_width, new_height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return np.array([scale, pad_x, pad_y], np.float32)
