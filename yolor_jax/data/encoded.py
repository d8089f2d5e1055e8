"""Encoded images: what their header says, whether they are complete, and their pixels.

JPEG, PNG, BMP, GIF, WebP, TIFF and AVIF, of an animation the first frame. Pixels are RGB of 8 bits:
those of 16 and 12 bits are scaled by what the file says of its range, an alpha channel is left out,
and floating-point pixels, which say no range, are refused. What follows the end of an image does
not matter.

Boxes of a data set refer to pixels as they are stored: `decode` ignores an EXIF orientation, which
preparation settles once (`preparation.plan`). `upright` and `read_image` turn the pixels as people
see them.

    read_header(path.read_bytes())  # Header(height=480, width=640, orientation=1, frames=1)
    read_image("photo.jpg").shape  # (480, 640, 3)

JPEG goes through OpenCV, which decodes it a quarter faster than Pillow, to the same pixels; Pillow
does the rest. OpenCV fills the missing rest of a truncated JPEG with grey and says nothing,
therefore the end of the file is looked for first.
"""

import contextlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import ExifTags, Image, UnidentifiedImageError

from yolor_jax.errors import InputError

SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif",
)  # fmt: skip
"""Of the files in a folder that are taken for images, in lower case."""

_JPEG = b"\xff\xd8"
_OTHERS = ("PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF")
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_TIFF_BITS, _TIFF_LARGEST = 258, 281  # tags: BitsPerSample, MaxSampleValue
# Of grey, because the colour of IMREAD_REDUCED_COLOR_2 and its kin is BGR.
_REDUCED = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

Decoded = TypeVar("Decoded")


class Header(NamedTuple):
    """What can be said of an image without decoding it.

    Attributes:
        height: of the stored pixels.
        width: of the stored pixels.
        orientation: of EXIF, 1 .. 8; 1: as stored.
        frames: of an animation, or pages; 1 as a rule.
    """

    height: int
    width: int
    orientation: int
    frames: int = 1

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Height and width as people see the image."""
        size_hw = self.height, self.width
        return size_hw[::-1] if self.orientation >= 5 else size_hw


def is_jpeg(data: bytes) -> bool:
    """Whether an image says that it is a JPEG."""
    return data.startswith(_JPEG)


def read_header(data: bytes) -> Header:
    """Reads the header; of a JPEG also whether the end is there.

    Raises:
        InputError: it is truncated, too large or no such image; the message says which.
    """
    if is_jpeg(data):
        return _read_jpeg(data)
    with _open(data) as image:
        return _header_of(image)


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes the stored pixels to RGB, whatever orientation EXIF asks for.

    Raises:
        InputError: the image is truncated, of another kind, or none; the message says which.
    """
    if is_jpeg(data):
        read_header(data)
        return _decode_jpeg(data, cv2.IMREAD_COLOR_RGB)
    with _open(data) as image:
        return _pixels_of(image)


def decode_reduced(data: bytes, factor: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes a JPEG at a half, a quarter or an eighth of its sides, which takes less time.

    libjpeg leaves the higher frequencies out, so that a pixel is about the mean of those whose
    place it takes. Rows and columns at the end, too few for another pixel, are left out.

    Args:
        data: of a JPEG.
        factor: stored pixels along a side of one of these: 2, 4 or 8, no more than there are.

    Raises:
        InputError: as `decode`.
    """
    header = _read_jpeg(data)
    image = _decode_jpeg(data, _REDUCED[factor] | cv2.IMREAD_COLOR_RGB)
    return image[: header.height // factor, : header.width // factor]


def upright(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes an image as people see it: RGB, turned as EXIF asks for.

    Raises:
        InputError: as `decode`.
    """
    return upright_with_header(data)[0]


def upright_with_header(data: bytes) -> tuple[UInt8[np.ndarray, "h w 3"], Header]:
    """`upright` and `read_header` at once; to open a PNG twice costs as much as to decode it.

    Raises:
        InputError: as `decode`.
    """
    if is_jpeg(data):
        header = _read_jpeg(data)
        return turned(_decode_jpeg(data, cv2.IMREAD_COLOR_RGB), header.orientation), header
    with _open(data) as image:
        stored, header = _pixels_of(image), _header_of(image)
    return turned(stored, header.orientation), header


def read_image(source: str | os.PathLike | bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Reads an image as people see it; see `upright`.

    Args:
        source: a path, or what such a file holds.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: it is not a complete image; the message has the path.
    """
    return decoded_by(upright, source)


def decoded_by(decoder: Callable[[bytes], Decoded], source: str | os.PathLike | bytes) -> Decoded:
    """What a decoder makes of an image; arguments and errors as of `read_image`."""
    if isinstance(source, bytes):
        return decoder(source)
    with open(source, "rb") as file:
        data = file.read()
    try:
        return decoder(data)
    except InputError as error:
        raise InputError(f"{os.fspath(source)}: {error}") from error


def turned(image: UInt8[np.ndarray, "_ _ 3"], orientation: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Stored pixels turned upright.

    Args:
        image: as it is stored.
        orientation: of EXIF, 1 .. 8; 1 for as stored.
    """
    turn = {
        1: lambda stored: stored,
        2: lambda stored: stored[:, ::-1],
        3: lambda stored: stored[::-1, ::-1],
        4: lambda stored: stored[::-1],
        5: lambda stored: stored.swapaxes(0, 1),
        6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
        7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
        8: lambda stored: stored.swapaxes(0, 1)[::-1],
    }[orientation]
    return np.ascontiguousarray(turn(image))


def check(data: bytes) -> Header:
    """Reads the header, and decodes all of the image, a JPEG small and grey.

    Raises:
        InputError: as `decode`.
    """
    header = read_header(data)
    if is_jpeg(data) and min(header.height, header.width) >= 8:
        _decode_jpeg(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    else:
        decode(data)
    return header


def apply_orientation(data: bytes) -> bytes:
    """The image turned as EXIF asks for, encoded anew without loss, as PNG."""
    return cv2.imencode(".png", upright(data)[..., ::-1])[1].tobytes()


@contextlib.contextmanager
def _open(data: bytes) -> Iterator[Image.Image]:
    """The image of any format but JPEG; whatever Pillow raises becomes an InputError."""
    if not data:
        raise InputError("empty: it has no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=_OTHERS) as image:
            _require_size(image.height, image.width)
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"damaged, or no image of a known format (JPEG, {', '.join(_OTHERS)})"
        ) from error
    except Exception as error:  # its decoders of damaged data raise nearly everything
        raise InputError(f"truncated or damaged: {error}") from error


def _header_of(image: Image.Image) -> Header:
    # Pillow turns TIFF upright as it decodes.
    orientation = 1 if image.format == "TIFF" else _orientation(image.getexif())
    return Header(image.height, image.width, orientation, getattr(image, "n_frames", 1))


def _pixels_of(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if kind := {"F": "floating-point", "I": "32-bit"}.get(image.mode):
        raise InputError(f"{kind} pixels, which say no range; store 8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        return _grey_to_8_bits(np.asarray(image, np.uint16), _largest(image))
    return np.array(image.convert("RGB"))


def _decode_jpeg(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError(f"damaged: {error.err}") from error
    if image is None:
        raise InputError("damaged: no JPEG that can be decoded")
    return image


def _largest(image: Image.Image) -> int:
    """The largest value that a grey image of more than eight bits may hold."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS, (16,))
    largest = tags.get(_TIFF_LARGEST, ((1 << min(bits)) - 1,))
    return max(largest)


def _grey_to_8_bits(grey: UInt16[np.ndarray, "h w"], largest: int) -> UInt8[np.ndarray, "h w 3"]:
    scaled = np.minimum(grey.astype(np.uint32) * 256 // (largest + 1), 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)


def _require_size(height: int, width: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise InputError(
            f"{width:,} x {height:,} pixels; at most {limit:,} are read "
            "(the limit is PIL.Image.MAX_IMAGE_PIXELS): cut it into tiles"
        )


def _orientation(exif: Image.Exif) -> int:
    value = exif.get(ExifTags.Base.Orientation)
    return value if value in range(1, 9) else 1


def _read_jpeg(data: bytes) -> Header:
    """Walks through the segments up to the first scan, then looks for the end of the image."""
    size, orientation, position = None, 1, 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise InputError("damaged: no JPEG marker where one must stand")
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        segment = data[position + 4 : position + 2 + length]
        if marker in _FRAME_MARKERS and len(segment) >= 5:
            bits, *size = struct.unpack(">BHH", segment[:5])
            if bits != 8:
                raise InputError(f"a JPEG of {bits} bits; store 8 bits, or 16 as PNG or TIFF")
        elif marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            orientation = _read_exif(segment)
        elif marker == 0xDA:  # from here on, an end marker is not that of a thumbnail
            if size is None or data.rfind(b"\xff\xd9", position) < 0:
                raise InputError("truncated: its end is missing")
            _require_size(*size)
            return Header(*size, orientation)
        position += 2 + length
    raise InputError("truncated: it ends in its header")


def _read_exif(segment: bytes) -> int:
    """The orientation that an EXIF block asks for; 1 if it is damaged or asks for none."""
    exif = Image.Exif()
    try:
        exif.load(segment)
    except Exception:  # of Pillow, on damaged data; the pixels may be sound
        return 1
    return _orientation(exif)
