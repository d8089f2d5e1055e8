"""TFRecord files without TensorFlow: where each record lies, and whether it is whole.

A file is a row of records: length (8 bytes, little endian), masked CRC-32C of the length (4 bytes),
data, masked CRC-32C of the data (4 bytes). The polynomial is Castagnoli's, the mask is
``rotate_right(crc, 15) + 0xA282EAD8``.

    places = find_records(path)
    read_record(path, places[0])  # bytes
"""

import functools
import pathlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt32

from yolor_jax.errors import InputError

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_MASK = 0xA282EAD8
_BLOCK = 1024  # bytes looked up at once


class Place(NamedTuple):
    """First byte and number of bytes of a record's data in its file."""

    offset: int
    length: int


def read_records(path: pathlib.Path) -> Iterator[tuple[Place, bytes]]:
    """All records of a file in order, with their checksums verified.

    Raises:
        InputError: if the file is cut off, or a checksum differs; says which record.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        number = 0
        while header := file.read(12):
            place = None
            if len(header) == 12:
                length, masked = struct.unpack("<QI", header)
                _require(header[:8], masked, path, number)
                place = Place(file.tell(), length)
            if place is None or place.offset + place.length + 4 > size:
                raise InputError(
                    f"{path} is cut off in record {number}, after {size:,} bytes; copy it again"
                )
            data = file.read(length)
            (masked,) = struct.unpack("<I", file.read(4))
            _require(data, masked, path, number)
            yield place, data
            number += 1


def read_record(path: pathlib.Path, place: Place) -> bytes:
    """The data of one record, whose checksum was verified when it was found."""
    with open(path, "rb") as file:
        file.seek(place.offset)
        return file.read(place.length)


def _require(data: bytes, masked: int, path: pathlib.Path, number: int) -> None:
    """Raises an InputError unless data has its checksum."""
    crc = crc32c(data)
    if ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF != masked:
        raise InputError(
            f"{path} is damaged, or no TFRecord file: record {number} does not have its checksum; "
            "copy it again"
        )


def crc32c(data: bytes) -> int:
    """CRC-32C of Castagnoli, as in iSCSI.

    A checksum is linear over GF(2): each byte of a block contributes by its value and its distance
    to the block's end alone, looked up for all of them at once and combined by exclusive or.
    """
    bytewise = _tables()[-1].tolist()
    head = len(data) % _BLOCK
    crc = 0xFFFFFFFF
    for byte in data[:head]:
        crc = bytewise[(crc ^ byte) & 0xFF] ^ crc >> 8
    blocks = np.frombuffer(data, np.uint8, offset=head).reshape(-1, _BLOCK)
    shift = _tables()[:4].tolist()  # of a register: its first byte is the farthest from the end
    for block in np.bitwise_xor.reduce(_tables()[np.arange(_BLOCK), blocks], axis=1).tolist():
        register = zip(shift, crc.to_bytes(4, "little"), strict=True)
        crc = functools.reduce(lambda value, entry: value ^ entry[0][entry[1]], register, block)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _tables() -> UInt32[np.ndarray, "block 256"]:
    """What a byte contributes that stands at each position of a block, by its value."""
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = np.where(last & 1, last >> 1 ^ np.uint32(_POLYNOMIAL), last >> 1)
    tables = [last]
    for _ in range(_BLOCK - 1):  # one byte farther from the end
        tables.append(last[tables[-1] & 0xFF] ^ tables[-1] >> 8)
    return np.stack(tables[::-1])
