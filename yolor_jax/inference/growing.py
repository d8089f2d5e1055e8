"""Files that grow by a row at a time, and are whole after each: what was written stays.

    rows = GrowingList(path, '{"images": [', "]}")
    rows.add({"file": "a.jpg"})

Both kinds go on where a file of theirs was cut off, by a kill or a full disk: half a row is left
out.
"""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from yolor_jax.errors import writing
from yolor_jax.whole_file import whole_file


class GrowingLines:
    """Lines of text."""

    def __init__(self, path: pathlib.Path, first: str = ""):
        """Opens the file; one that is there is gone on with.

        Args:
            path: of the file.
            first: its first line, such as the names of columns; none if empty.
        """
        self.path = path
        self.before: list[str] = []
        if path.exists():
            *self.before, cut_off = path.read_text(errors="surrogateescape").split("\n")
            if cut_off:
                os.truncate(path, path.stat().st_size - len(os.fsencode(cut_off)))
        if first and not self.before:
            self.add(first)

    def add(self, *lines: str) -> None:
        """Adds lines, all of them or none."""
        _write_end(
            self.path, "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")
        )


class GrowingList:
    """A JSON document that ends in a list, each item of which has a line of its own."""

    def __init__(
        self,
        path: pathlib.Path,
        start: str = "[",
        end: str = "]",
        *,
        keep: Callable[[Any], bool] = lambda item: True,
    ):
        """Opens the file; one that is there is gone on with.

        Args:
            path: of the file.
            start: what stands before the items.
            end: what stands behind them.
            keep: which items of before stay.
        """
        self.path = path
        self._end = f"\n{end}\n".encode()
        start, before = _items(path) if path.exists() else (start, [])
        self.before = [item for item in before if keep(item)]
        self._length = len(self.before)
        with whole_file(path) as file:  # what was cut off is mended
            file.write_bytes(start.encode() + self._lines(self.before) + self._end)

    def add(self, *items: Any) -> None:
        """Adds items, all of them or none."""
        if not items:
            return
        comma = b"," if self._length else b""
        _write_end(self.path, comma + self._lines(items) + self._end, instead_of=self._end)
        self._length += len(items)

    @staticmethod
    def _lines(items: Sequence[Any]) -> bytes:
        return ",".join(f"\n{json.dumps(item)}" for item in items).encode()


def _write_end(path: pathlib.Path, end: bytes, instead_of: bytes = b"") -> None:
    """Writes the end of a file, or leaves it as it was."""
    with writing(path), open(path, "r+b" if path.exists() else "wb", buffering=0) as file:
        place = file.seek(-len(instead_of), os.SEEK_END)
        left = memoryview(end)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.seek(place)
            file.write(instead_of)
            file.truncate()
            raise


def _items(path: pathlib.Path) -> tuple[str, list[Any]]:
    """The first line of such a file, and its items, as far as they are whole."""
    start, *lines = path.read_text().split("\n")
    items = []
    for line in lines:
        try:
            items.append(json.loads(line.removesuffix(",")))
        except ValueError:  # the end, or an item that was cut off
            break
    return start, items
