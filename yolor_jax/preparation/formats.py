"""The formats of folders that can be prepared, each a module with two texts and three functions.

NAME                                   # "Pascal VOC"
LOOKS_FOR                              # what a folder of it holds, for messages
recognises(folder) -> str | None       # by what a folder is known as of this format
find_splits(folder) -> [name, ...]     # InputError if it has none
open_split(folder, name) -> Original   # how it is read (`coco_files.Original`)

    found = formats.of(folder)             # None if no format recognises it
"""

import pathlib
from types import ModuleType

from yolor_jax.errors import InputError
from yolor_jax.preparation import coco_exports, coco_files, mot, voc, yolo_text

FORMATS = (coco_files, mot, yolo_text, voc, coco_exports)


def of(folder: pathlib.Path) -> ModuleType | None:
    """The first format that recognises a folder; None if none does."""
    return next((format_ for format_ in FORMATS if format_.recognises(folder)), None)


def require(folder: pathlib.Path) -> ModuleType:
    """The format of a folder.

    Raises:
        InputError: no format recognises it; the message lists what was looked for.
    """
    if format_ := of(folder):
        return format_
    lines = [f"  {format_.NAME}: {format_.LOOKS_FOR}" for format_ in FORMATS]
    lines.append("  TFDS directory: dataset_info.json, and the features of coco/2017")
    there = "expected 'shapes' or" if folder.exists() else "there is no such folder; expected"
    raise InputError("\n".join([f"{folder} is no data set: {there} one of these", *lines]))
