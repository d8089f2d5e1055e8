"""Pictures decoded at a half, a quarter or an eighth of their sides, where so many pixels will do.

    picture = upright_scaled(path.read_bytes(), (640, 640))    # of 4032 x 3024 pixels
    picture.image.shape, picture.factor, picture.size_hw       # (756, 1008, 3), 4, (3024, 4032)

Only a JPEG can be decoded so, in a fraction of the time (`encoded.decode_reduced`); any other image
is decoded whole. It is never smaller than a letterbox of the given size shows it. The pixels of
that letterbox are others than those of the whole image, which is sampled: here they are means.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from yolor_jax.data.encoded import (
    Header,
    decode,
    decode_reduced,
    is_jpeg,
    read_header,
    turned,
    upright_with_header,
)

FACTORS = (8, 4, 2)


class Scaled(NamedTuple):
    """An image, of whose sides there may be a part of the pixels only.

    Attributes:
        image: RGB; the first ``factor`` x ``factor`` pixels of the whole are its first one.
        factor: pixels of the whole along a side of one of these: 1, 2, 4 or 8.
        size_hw: height and width of the whole in pixels.
        frames: of an animation, or pages; 1 as a rule.
    """

    image: UInt8[np.ndarray, "_ _ 3"]
    factor: int
    size_hw: tuple[int, int]
    frames: int = 1

    def letterbox_of_whole(self, letterbox: Float32[np.ndarray, "3"]) -> Float32[np.ndarray, "3"]:
        """``(scale, pad_x, pad_y)`` of the whole image, from those of this one."""
        return letterbox / np.float32([self.factor, 1, 1])


def whole(image: UInt8[np.ndarray, "_ _ 3"], frames: int = 1) -> Scaled:
    """An image with all its pixels."""
    return Scaled(image, 1, image.shape[:2], frames)


def decode_scaled(data: bytes, enough_hw: tuple[int, int] | None) -> Scaled:
    """Decodes the stored pixels, whatever orientation EXIF asks for.

    Args:
        data: an encoded image.
        enough_hw: height and width of the letterbox that it is for; None for all pixels.

    Raises:
        InputError: as `encoded.decode`.
    """
    if enough_hw is None or not is_jpeg(data):
        return whole(decode(data))
    header = read_header(data)._replace(orientation=1)
    return _scaled(data, header, enough_hw)


def upright_scaled(data: bytes, enough_hw: tuple[int, int] | None) -> Scaled:
    """Decodes an image as people see it; arguments and errors as of `decode_scaled`."""
    if enough_hw is None or not is_jpeg(data):
        image, header = upright_with_header(data)
        return whole(image, header.frames)
    return _scaled(data, read_header(data), enough_hw)


def factor_for(header: Header, enough_hw: tuple[int, int]) -> int:
    """By how much the sides of an image may be divided for a letterbox.

    Of an image that is turned, a pixel that is left out at the end would be missing at its
    beginning; its sides must be multiples of the factor.

    Args:
        header: of the image.
        enough_hw: height and width of the letterbox.

    Returns:
        The largest one by which it need not be enlarged again; 1 for none.
    """
    scale = min(enough / side for enough, side in zip(enough_hw, header.upright_hw, strict=True))
    stored = header.height, header.width
    for factor in FACTORS:
        left_out = any(side % factor for side in stored)
        if (
            factor * scale <= 1
            and min(stored) >= factor
            and not (left_out and header.orientation != 1)
        ):
            return factor
    return 1


def _scaled(data: bytes, header: Header, enough_hw: tuple[int, int]) -> Scaled:
    factor = factor_for(header, enough_hw)
    stored = decode(data) if factor == 1 else decode_reduced(data, factor)
    return Scaled(turned(stored, header.orientation), factor, header.upright_hw)
