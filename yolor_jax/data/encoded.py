"""Encoded images: what their header says, whether they are complete, and their pixels.

OpenCV fills the missing rest of a truncated JPEG with grey and says nothing, therefore the end of
the file is looked for first. Pixels are decoded as they are stored: an EXIF orientation is read
(`read_header`) but never applied here; preparation settles it once (`preparation.plan`).

    read_header(path.read_bytes())  # Header(height=480, width=640, orientation=1)
"""

import os
import struct
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from yolor_jax.errors import InputError

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_ORIENTATION_TAG = 0x0112


class Header(NamedTuple):
    """Height and width of the stored pixels, and EXIF orientation 1 .. 8 (1: as stored)."""

    height: int
    width: int
    orientation: int


def read_header(data: bytes) -> Header:
    """Reads size and orientation; only formats other than JPEG and PNG are decoded for it.

    Raises:
        InputError: if the image is truncated or is none; the message says which.
    """
    if data.startswith(_JPEG):
        return _read_jpeg(data)
    if data.startswith(_PNG):
        if len(data) < 24 or b"IEND" not in data[-64:]:
            raise InputError("truncated: its end is missing")
        width, height = struct.unpack(">II", data[16:24])
        return Header(height, width, 1)
    height, width = decode(data).shape[:2]
    return Header(height, width, 1)


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Decodes the stored pixels to RGB, whatever orientation EXIF asks for.

    Raises:
        InputError: if the image is truncated or is none; the message says which.
    """
    if data.startswith((_JPEG, _PNG)):
        read_header(data)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise InputError("no image that OpenCV can decode")
    return image


def read_image(source: str | os.PathLike | bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a picture as people see it: RGB, turned upright as EXIF asks for.

    Args:
        source: a path, or what such a file holds.

    Raises:
        OSError: there is no such file, or it cannot be read.
        InputError: it is not a complete image; the message has the path.
    """
    if isinstance(source, bytes):
        return turned(decode(source), read_header(source).orientation)
    with open(source, "rb") as file:
        data = file.read()
    try:
        return turned(decode(data), read_header(data).orientation)
    except (InputError, cv2.error) as error:
        raise InputError(f"{os.fspath(source)}: {error}") from error


def turned(image: UInt8[np.ndarray, "_ _ 3"], orientation: int) -> UInt8[np.ndarray, "_ _ 3"]:
    """Stored pixels turned upright.

    Args:
        image: as it is stored.
        orientation: of EXIF, 1 .. 8; 1 for as stored.
    """
    upright = {
        1: lambda stored: stored,
        2: lambda stored: stored[:, ::-1],
        3: lambda stored: stored[::-1, ::-1],
        4: lambda stored: stored[::-1],
        5: lambda stored: stored.swapaxes(0, 1),
        6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
        7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
        8: lambda stored: stored.swapaxes(0, 1)[::-1],
    }[orientation]
    return np.ascontiguousarray(upright(image))


def check(data: bytes) -> Header:
    """Reads the header, and decodes the image small and grey, which reads all of its data.

    Raises:
        InputError: if the image is truncated or is none; the message says which.
    """
    header = read_header(data)
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
    if cv2.imdecode(np.frombuffer(data, np.uint8), flags) is None:
        raise InputError("no image that OpenCV can decode")
    return header


def apply_orientation(data: bytes) -> bytes:
    """Turns the pixels as EXIF asks for and encodes them anew, as JPEG of quality 95."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


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
            size = struct.unpack(">HH", segment[1:5])
        elif marker == 0xE1 and segment.startswith(b"Exif\0\0"):
            orientation = _read_orientation(segment[6:])
        elif marker == 0xDA:  # from here on, an end marker is not that of a thumbnail
            if size is None or data.rfind(b"\xff\xd9", position) < 0:
                raise InputError("truncated: its end is missing")
            return Header(*size, orientation)
        position += 2 + length
    raise InputError("truncated: it ends in its header")


def _read_orientation(tiff: bytes) -> int:
    """The orientation tag of the first directory of an EXIF block; 1 if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack(order + "I", tiff[4:8])
    if len(tiff) < start + 2:
        return 1
    (count,) = struct.unpack(order + "H", tiff[start : start + 2])
    for i in range(count):
        entry = tiff[start + 2 + 12 * i : start + 14 + 12 * i]
        if len(entry) == 12 and struct.unpack(order + "H", entry[:2])[0] == _ORIENTATION_TAG:
            (value,) = struct.unpack(order + "H", entry[8:10])
            return value if 1 <= value <= 8 else 1
    return 1
