"""The formats of folders that can be prepared, each a module with three functions.

recognises(folder) -> bool             # whether a folder is of this format
find_splits(folder) -> [name, ...]     # InputError if it has none
open_split(folder, name) -> Original   # how it is read (`coco_files.Original`)

found = formats.of(folder)             # None if no format recognises it
"""

import pathlib
from types import ModuleType

from yolor_jax.preparation import coco_files

FORMATS = (coco_files,)


def of(folder: pathlib.Path) -> ModuleType | None:
    """The first format that recognises a folder; None if none does."""
    return next((format_ for format_ in FORMATS if format_.recognises(folder)), None)
