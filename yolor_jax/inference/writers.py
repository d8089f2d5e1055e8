"""The file of detections that a command writes: a new one, or one that is gone on with.

    writer = open_writer("json", folder, settings, resume=True)
    if ("a.jpg", None) not in writer.done:
        writer.add(row)

Nothing that exists is overwritten: a name that is taken gets -2, -3 and so on, unless the file of
before is to be gone on with, which must have been made with the same settings.
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.inference.formats import (
    CocoWriter,
    CsvWriter,
    JsonLinesWriter,
    JsonWriter,
    Key,
    Writer,
    YoloWriter,
)
from yolor_jax.inference.places import candidates
from yolor_jax.inference.rows import Row
from yolor_jax.stamp import stamp

WRITERS = {
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "csv": CsvWriter,
}


def open_writer(
    format_: str, folder: pathlib.Path, settings: Mapping[str, Any], *, resume: bool = False
) -> Writer:
    """A writer of detections.

    Args:
        format_: one of `WRITERS`.
        folder: is there.
        settings: what the detections depend on, ``class_names`` among them.
        resume: whether the last file of this name is gone on with.

    Raises:
        InputError: the file that is to be gone on with is of other settings, or damaged.
        OSError: the file cannot be written.
    """
    kind = WRITERS[format_]
    complete = {**settings, "stamp": stamp()}
    if resume and (last := _last(folder / kind.NAME)):
        _require_same(kind, last, settings)
        return kind(last, complete)
    return _NewFile(kind, _free(folder / kind.NAME), complete)


class _NewFile:
    """A file that is begun with its first row: where nothing can be read, there is none."""

    def __init__(self, kind: type, path: pathlib.Path, settings: Mapping[str, Any]):
        self.path = path
        self.done: set[Key] = set()
        self._begin = functools.partial(kind, path, settings)
        self._writer: Writer | None = None

    def add(self, row: Row) -> None:
        """Writes a row."""
        self._writer = self._writer or self._begin()
        self._writer.add(row)


def _free(path: pathlib.Path) -> pathlib.Path:
    return next(candidate for candidate in candidates(path) if not candidate.exists())


def _last(path: pathlib.Path) -> pathlib.Path | None:
    """The one that was written last, if there is any."""
    last = None
    for candidate in candidates(path):
        if not candidate.exists():
            return last
        last = candidate
    return last


def _require_same(kind: type, path: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Raises an InputError if a file was made with other settings."""
    try:
        there = kind.settings_of(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be gone on with: its settings cannot be read ({error}); leave out "
            "--resume to begin another file"
        ) from error
    settings = json.loads(json.dumps(dict(settings)))
    for name in settings:
        if there.get(name) != settings[name]:
            raise InputError(
                f"{path} was made with {name} {there.get(name)} and not {settings[name]}; leave "
                "out --resume to begin another file"
            )
