"""A folder of detections in a bucket, where no file can grow: it grows on a disk, and is carried.

    with output_folder(user_path("gs://bucket/found"), resume=True) as output:
        ...                   # write below output.folder
        output.carry()        # now and then; all that is left goes at the end

Of a local path the folder is that path, and nothing is carried. What is in the bucket already takes
its name in the folder too, so that it is neither overwritten nor fetched.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from yolor_jax import bucket
from yolor_jax.errors import InputError, sentence
from yolor_jax.paths import Path, is_local

SECONDS = 30.0
"""Between two goes, in which files are put that have changed."""
GROWING = (".json", ".jsonl", ".csv")
"""Endings of files that are gone on with; all others are written once."""
FILM = ".mp4"
"""Ending of what is whole at the end only."""


@contextlib.contextmanager
def output_folder(place: Path, *, resume: bool) -> "Iterator[OnDisk | Carried]":
    """Opens a folder for what is found, which is made if it is not there.

    Args:
        place: on a disk or in a bucket.
        resume: whether files of before are gone on with, and so have to be fetched.

    Raises:
        InputError: the local folder cannot be made.
        OSError: the bucket cannot be written to; what could not be carried stays on the disk, and
            the sentence says where.
    """
    if is_local(place):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {place}: {error.strerror}") from error
        yield OnDisk(pathlib.Path(place))
        return
    bucket.require_writable(place)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="yolor-detect-"))
    carried = Carried(place, folder, resume=resume)
    try:
        yield carried
    finally:
        carried.end()


class OnDisk:
    """A folder that is where it was asked for.

    Attributes:
        folder: its path.
    """

    def __init__(self, folder: pathlib.Path):
        """Of a folder that is there."""
        self.folder = folder

    def carry(self) -> None:
        """Does nothing."""

    def place_of(self, file: pathlib.Path) -> Path:
        """Where a file of the folder is for others."""
        return file


class Carried:
    """A folder on a disk whose files go to a bucket.

    Attributes:
        folder: its path.
    """

    def __init__(self, place: Path, folder: pathlib.Path, *, resume: bool):
        """Looks at what is in the bucket; see `output_folder`."""
        self.folder = folder
        self._place = place
        self._then = time.monotonic()
        for name in bucket.objects(place):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            if resume and file.suffix in GROWING:
                bucket.get(place / name, file)
        self._carried = {file: _state(file) for file in self._files()}

    def carry(self) -> None:
        """Puts what has changed, films aside, if the last time is half a minute ago.

        Raises:
            OSError: the bucket cannot be written to.
        """
        if time.monotonic() - self._then >= SECONDS:
            self._put([file for file in self._files() if file.suffix != FILM])
            self._then = time.monotonic()

    def end(self) -> None:
        """Puts what is left and removes the folder."""
        try:
            self._put(self._files())
        except OSError as error:
            raise OSError(f"{sentence(error)}; what was found lies in {self.folder}") from error
        shutil.rmtree(self.folder)

    def place_of(self, file: pathlib.Path) -> Path:
        """Where a file of the folder is for others."""
        return self._place / file.relative_to(self.folder).as_posix()

    def _files(self) -> list[pathlib.Path]:
        """Those that are whole; last the growing ones, whose rows name the others."""
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        whole = [file for file in files if not file.name.startswith(".")]
        return sorted(whole, key=lambda file: file.suffix in GROWING)

    def _put(self, files: list[pathlib.Path]) -> None:
        for file in files:
            if self._carried.get(file) == _state(file):
                continue
            bucket.put(file, self.place_of(file))
            if file.suffix not in GROWING:
                os.truncate(file, 0)  # keeps its name taken, and no room
            self._carried[file] = _state(file)


def _state(file: pathlib.Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns
