"""What somebody wants to be looked at: images, folders, globs, lists, films, cameras, streams.

    found = find(["photos/", "more/*.png", "list.txt", "film.mp4", "0", "rtsp://host/x"])
    found.sources    # [Pictures([...]), Film("film.mp4"), Film(0), Film("rtsp://host/x")]

Each picture comes once, in order. Nothing is opened here, only looked up.
"""

import collections
import dataclasses
import glob
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from yolor_jax import paths
from yolor_jax.data.encoded import SUFFIXES
from yolor_jax.errors import InputError, sentence
from yolor_jax.inference.film import FILM_SUFFIXES, Film

STDIN = "-"
_EXAMPLES = 3  # names of files that are passed over


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Files of images, each once.

    Attributes:
        files: may be of any name; whether they are images is seen when they are read.
    """

    files: Sequence[pathlib.Path]

    def __len__(self) -> int:
        return len(self.files)


class Sources(NamedTuple):
    """What arguments stand for.

    Attributes:
        sources: in order; pictures that follow each other are together.
        problems: a sentence for each argument that names none.
        passed_over: a sentence for each folder that holds other files too.
    """

    sources: list[Pictures | Film]
    problems: list[str]
    passed_over: list[str]

    @property
    def pictures(self) -> int:
        """How many pictures there are, films apart."""
        return sum(len(source) for source in self.sources if isinstance(source, Pictures))

    @property
    def films(self) -> list[Film]:
        """Films, cameras and streams."""
        return [source for source in self.sources if isinstance(source, Film)]

    def share(self, number: int, count: int) -> "Sources":
        """The share of one of several that know nothing of each other: every count-th picture.

        Args:
            number: of the share, 1 .. count.
            count: of the shares. Of films, too, each goes to one of them.
        """
        turns = itertools.cycle(range(1, count + 1))
        sources: list[Pictures | Film] = []
        for source in self.sources:
            if isinstance(source, Film):
                sources += [source] if next(turns) == number else []
            else:  # zip asks for a turn only where there is a file
                files = [f for f, turn in zip(source.files, turns, strict=False) if turn == number]
                sources += [Pictures(files)] if files else []
        return self._replace(sources=sources)


def find(arguments: Iterable[str], *, recursive: bool = False) -> Sources:
    """Looks up what is meant.

    Args:
        arguments: files (of any name; ``.txt`` is a list of such, one a line, relative to its own
            folder), folders (the images in them), globs, films, numbers of cameras, URLs of
            streams, and ``-`` for a list on standard input.
        recursive: whether the folders in folders are looked through too.

    Returns:
        ``Sources``.
    """
    once: dict[str, pathlib.Path | Film] = {}
    problems, passed_over = [], []
    for argument in arguments:
        try:
            found, others = _matches(argument, recursive)
        except (OSError, ValueError) as error:
            problems.append(f"{argument}: {_reason(error)}")
            continue
        for one in found:
            once.setdefault(_identity(one), one)
        if others:
            passed_over.append(f"{argument}: {_counted(others)}")
    return Sources(_together(once.values()), problems, passed_over)


def _together(found: Iterable[pathlib.Path | Film]) -> list[Pictures | Film]:
    """Pictures that follow each other as one source."""
    sources: list[Pictures | Film] = []
    for is_film, group in itertools.groupby(found, lambda one: isinstance(one, Film)):
        members = list(group)
        sources += members if is_film else [Pictures(members)]
    return sources


def _identity(one: pathlib.Path | Film) -> str:
    """The same for two names of one file."""
    place = one.place if isinstance(one, Film) else one
    return f"camera {place}" if isinstance(place, int) else os.path.realpath(place)


def _matches(
    argument: str, recursive: bool
) -> tuple[list[pathlib.Path | Film], list[pathlib.Path]]:
    """What one argument stands for, and the other files of a folder.

    Raises:
        InputError: there is nothing.
    """
    if argument == STDIN:
        return _listed(sys.stdin.buffer.read(), pathlib.Path(), "standard input"), []
    if re.match(r"(?!file|gs)[A-Za-z][A-Za-z0-9+.-]*://", argument):
        return [Film(argument)], []
    path = paths.local_path(argument)
    if path.is_file():
        if path.suffix.lower() == ".txt":
            return _listed(path.read_bytes(), path.parent, str(path)), []
        return [_of_kind(path)], []
    if path.is_dir():
        return _in_folder(path, recursive)
    if argument.isdecimal():
        return [Film(int(argument))], []
    matches = map(pathlib.Path, sorted(glob.glob(str(path), recursive=True)))
    found = [_of_kind(match) for match in matches if match.is_file()]
    if not found:
        raise InputError("no such file")
    return found, []


def _of_kind(file: pathlib.Path) -> pathlib.Path | Film:
    return Film(str(file)) if file.suffix.lower() in FILM_SUFFIXES else file


def _in_folder(
    folder: pathlib.Path, recursive: bool
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The images in a folder, and the other files."""
    files = sorted(_files(folder, recursive))
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not found:
        deeper = "" if recursive else "; --recursive looks through the folders in it"
        raise InputError(f"no image in this folder (endings: {', '.join(SUFFIXES)}){deeper}")
    return found, [file for file in files if file.suffix.lower() not in SUFFIXES]


def _files(folder: pathlib.Path, recursive: bool) -> Iterator[pathlib.Path]:
    """What is not hidden; links to folders are followed, and no folder is entered twice."""
    entered: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        entered.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and os.path.realpath(os.path.join(place, name)) not in entered
        ]
        files = (pathlib.Path(place, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _listed(data: bytes, folder: pathlib.Path, name: str) -> list[pathlib.Path | Film]:
    """The files of a list, one a line; names need not be text."""
    lines = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")).splitlines()
    names = (line.strip() for line in lines)
    files = [_of_kind(folder / paths.local_path(one)) for one in names if one]
    if not files:
        raise InputError(f"{name} lists no files; expected one a line")
    return files


def _counted(files: Sequence[pathlib.Path]) -> str:
    """How many files of each kind were passed over, and a few of them."""
    kinds = collections.Counter(file.suffix.lower() or "without ending" for file in files)
    counts = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    names = ", ".join(file.name for file in files[:_EXAMPLES]) + ", ..." * (len(files) > _EXAMPLES)
    films = " (films are named one by one)" * any(kind in FILM_SUFFIXES for kind in kinds)
    return (
        f"passed over {len(files)} files that are no images of a known kind: {counts} ({names})"
        f"{films}; expected {', '.join(SUFFIXES)}"
    )


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or sentence(error)
