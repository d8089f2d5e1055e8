"""Films of MOTChallenge (MOT16, MOT17, MOT20): frames whose objects have identities.

A sequence is a folder with ``seqinfo.ini``, frames in ``img1/`` and objects in ``gt/gt.txt``; a
split is a folder of sequences, such as ``train/``, or the whole folder, as ``train``, if it holds
them itself. A line of objects is ``frame, id, left, top, width, height, flag, class, visibility``,
in pixels that count from 1. Objects of flag 0 are not to be considered, and left out. The class is
the pedestrian, or, with CVAT's ``gt/labels.txt``, a line of that. MOT17 has each sequence three
times, for three detectors; the frames are the same, and taken once.

An id means an object of its sequence: the identities of a split are pairs of both.

    original = open_split(pathlib.Path("MOT17"), "train")
    original.annotations()
"""

import configparser
import functools
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from yolor_jax.data import split_names
from yolor_jax.errors import InputError
from yolor_jax.preparation import as_coco
from yolor_jax.preparation.coco_files import File, Original, list_files, read_file, read_lines

NAME = "MOTChallenge"
LOOKS_FOR = "SEQUENCE/seqinfo.ini, SEQUENCE/img1/ and SEQUENCE/gt/gt.txt, in it or in SPLIT/"
WHOLE = "train"
"""The split of a folder that holds sequences itself."""

_CLASS_NAMES = ("pedestrian",)
_DETECTOR = re.compile(r"-(DPM|FRCNN|SDP)$")
_FIELDS = 7  # a line has at least: up to the flag


class Line(NamedTuple):
    """An object in a frame.

    Attributes:
        where: it stands, for messages.
        frame: counts from 1.
        identity: of its sequence.
        bbox: left, top, width, height in pixels that count from 0.
        counts: false for one that is not to be considered.
        label: class, counts from 1.
    """

    where: str
    frame: int
    identity: int
    bbox: list[float]
    counts: bool
    label: int


def recognises(folder: pathlib.Path) -> str | None:
    """The objects of the first sequence."""
    found = [path for sequences in _splits(folder).values() for path in sequences]
    return (min(found) / "gt/gt.txt").relative_to(folder).as_posix() if found else None


def find_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits that have sequences with objects."""
    return sorted(_splits(folder))


def open_split(folder: pathlib.Path, split: str) -> Original:
    """Lists the frames of a split; objects are read when they are asked for.

    Raises:
        InputError: there is no such split, or a ``seqinfo.ini`` is damaged.
    """
    split_names.require_name(split)
    splits = _splits(folder)
    if split not in splits:
        raise split_names.no_such_split(folder, split, sorted(splits))
    root = splits[split][0].parent
    taken: dict[str, pathlib.Path] = {}
    for sequence in splits[split]:
        taken.setdefault(_DETECTOR.sub("", sequence.name), sequence)
    again = [path.name for path in splits[split] if path not in taken.values()]
    sequences = [(path, _info(path)) for path in taken.values()]
    files = {
        f"{path.name}/{info['imDir']}/{name}": file
        for path, info in sequences
        for name, file in list_files(path / info["imDir"]).items()
        if as_coco.is_image(name)
    }
    return Original.converted(
        split,
        where=str(root),
        convert=functools.partial(_convert, sequences, files, again),
        files=files,
        read=functools.partial(read_file, root),
    )


def _splits(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """The sequences of each split that have objects, by name."""
    splits: dict[str, list[pathlib.Path]] = {}
    for info in sorted([*folder.glob("*/seqinfo.ini"), *folder.glob("*/*/seqinfo.ini")]):
        sequence = info.parent
        if (sequence / "gt/gt.txt").is_file():
            name = WHOLE if sequence.parent == folder else sequence.parent.name
            splits.setdefault(name, []).append(sequence)
    return splits


def _info(sequence: pathlib.Path) -> dict[str, str]:
    """What ``seqinfo.ini`` says of the frames, with MOT's defaults."""
    path = sequence / "seqinfo.ini"
    parser = configparser.ConfigParser()
    parser.optionxform = str
    try:
        parser.read_string(path.read_text())
        info = {"imDir": "img1", "imExt": ".jpg", **parser["Sequence"]}
        folder = sequence / info["imDir"]
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is damaged ({' '.join(str(error).split())}); expected a section [Sequence]"
        ) from error
    if not folder.is_dir():
        raise InputError(f"{folder} is missing; expected the frames of the sequence there")
    return info


def _convert(
    sequences: list[tuple[pathlib.Path, dict[str, str]]], files: dict[str, File], again: list[str]
) -> tuple[bytes, list[tuple[str, str]]]:
    """The annotations of a split, and what is to be noted."""
    findings = [("sequence of another detector", name) for name in again]
    objects: dict[str, list[dict]] = {name: [] for name in sorted(files)}
    identities: dict[tuple[str, int], int] = {}
    class_names = _class_names([path for path, _ in sequences])
    for sequence, info in sequences:
        folder = f"{sequence.name}/{info['imDir']}"
        frames = _frames(files, folder)
        for line in _lines(sequence / "gt/gt.txt"):
            if not line.counts:
                findings.append(("object not to be considered", line.where))
                continue
            key = sequence.name, line.identity
            entry = {
                **_category(line, class_names),
                "identity": identities.setdefault(key, len(identities)),
                "bbox": line.bbox,
            }
            name = frames.get(line.frame, f"{folder}/{line.frame:06d}{info['imExt']}")
            objects.setdefault(name, []).append(entry)
    sizes = [None] * len(objects)
    return as_coco.encode(list(objects), sizes, list(objects.values()), class_names), findings


def _frames(files: dict[str, File], folder: str) -> dict[int, str]:
    """The images of a sequence by their numbers, whatever digits these are written with."""
    paths = [path for path in map(pathlib.PurePosixPath, files) if str(path.parent) == folder]
    return {int(path.stem): str(path) for path in paths if path.stem.isdecimal()}


def _lines(path: pathlib.Path) -> Iterator[Line]:
    """The lines of a file of objects."""
    for number, line in enumerate(read_lines(path), start=1):
        values = [value.strip() for value in line.split(",")]
        if len(values) < _FIELDS or not all(map(as_coco.NUMBER.fullmatch, values)):
            raise InputError(
                f"{path}, line {number}: got {line[:60]!r}; expected frame, id, left, top, width, "
                "height, flag, class, visibility"
            )
        frame, identity, left, top, width, height, flag, label = map(float, [*values, "1"][:8])
        yield Line(
            where=f"{path}, line {number}",
            frame=int(frame),
            identity=int(identity),
            bbox=[left - 1, top - 1, width, height],
            counts=flag != 0,
            label=1 if label == -1 else int(label),  # MOT15 has no classes
        )


def _category(line: Line, class_names: tuple[str, ...]) -> dict:
    """The category of an object, or what is wrong with it."""
    if 1 <= line.label <= len(class_names):
        return {"category_id": as_coco.category_ids(class_names)[line.label - 1]}
    expected = f"expected 1 .. {len(class_names)}"
    return {"category_id": None, "fault": f"{line.where}: class {line.label}; {expected}"}


def _class_names(sequences: list[pathlib.Path]) -> tuple[str, ...]:
    """The lines of the sequences' ``labels.txt``, which are the same; the pedestrian without."""
    named = {
        tuple(read_lines(path / "gt/labels.txt"))
        for path in sequences
        if (path / "gt/labels.txt").is_file()
    }
    if len(named) > 1:
        raise InputError(
            f"the sequences of {sequences[0].parent} have different gt/labels.txt; expected the "
            "same classes in the same order"
        )
    return named.pop() if named else _CLASS_NAMES
