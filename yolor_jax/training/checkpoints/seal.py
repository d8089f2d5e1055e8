"""The seal of a checkpoint: size and CRC-32 of its files, written with them, compared on reading.

    write(folder)  # when all items are there, before the folder gets its final name
    if reason := damage(folder):
        raise OSError(f"the checkpoint {folder} is damaged: {reason}")

A file that was cut off, lost or changed is found before any of it is used, and has a name.
"""

import json
import zlib
from collections.abc import Iterator

from etils import epath

FILE = "seal.json"
CHUNK = 1 << 20  # bytes read at once


def write(folder: epath.Path) -> None:
    """Seal all files of the items of a checkpoint.

    Args:
        folder: holds one folder for each item. Files beside these, which Orbax adds to until the
            end, are left out.
    """
    sums = {path.relative_to(folder).as_posix(): _sum(path) for path in _item_files(folder)}
    (folder / FILE).write_text(json.dumps(sums))


def damage(folder: epath.Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is, or it has no seal."""
    if not (folder / FILE).exists():
        return None
    try:
        sums = json.loads((folder / FILE).read_text())
    except ValueError:
        return f"{FILE} is no JSON"
    for name, (size, checksum) in sums.items():
        path = folder / name
        if not path.exists():
            return f"{name} is missing"
        found = _sum(path)
        if found[0] != size:
            return f"{name} has {found[0]:,} of {size:,} bytes"
        if found[1] != checksum:
            return f"{name} has other bytes than were written"
    return None


def _item_files(folder: epath.Path) -> Iterator[epath.Path]:
    """All files in the folders of a folder, at any depth."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from (child for child in sorted(path.iterdir()) if not child.is_dir())
            yield from _item_files(path)


def _sum(path: epath.Path) -> list[int]:
    """Size in bytes and CRC-32 of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]
