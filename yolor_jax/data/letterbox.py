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
    new_height = max(round(height * scale), 1)
    new_width = max(round(width * scale), 1)
    pad_x = (canvas_width - new_width) / 2
    pad_y = (canvas_height - new_height) / 2
    top, left = round(pad_y - 0.1), round(pad_x - 0.1)
    bottom, right = top + new_height, left + new_width
    canvas[:top], canvas[bottom:] = BORDER, BORDER
    canvas[top:bottom, :left], canvas[top:bottom, right:] = BORDER, BORDER
    inside = canvas[top:bottom, left:right]
    if (new_height, new_width) == (height, width):
        inside[:] = image
    else:
        cv2.resize(image, (new_width, new_height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return canvas, np.array([scale, pad_x, pad_y], np.float32)
