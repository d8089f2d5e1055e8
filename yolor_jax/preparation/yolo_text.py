"""YOLO text labels: a text file for each image, a line for each object.

A line is ``class x y width height``: the number of the class, then centre and size as parts of the
upright image, 0 to 1. A line of a class and three or more points is the outline of an object (the
labels of segmentation), of which the surrounding box is taken. An image whose file is empty or
missing shows no object. The file of ``images/train/a.jpg`` is ``labels/train/a.txt`` (the last
``images`` of its path becomes ``labels``) or lies beside the image.

Names of the classes and places of the splits: `yolo_folder`.

Parts become pixels by the size in the image's header, rounded to a millionth of a pixel: then what
was written from pixels gives the same pixels again.

    original = open_split(pathlib.Path("coco128"), "train")
    original.annotations()  # COCO's JSON
"""

import contextlib
import functools
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from yolor_jax.data import split_names
from yolor_jax.data.encoded import read_header
from yolor_jax.errors import InputError
from yolor_jax.preparation import as_coco, yolo_folder
from yolor_jax.preparation.coco_files import File, Original, list_files, read_file, read_lines

NAME = "YOLO text labels"
LOOKS_FOR = (
    "data.yaml (or dataset.yaml, or FOLDER.yaml) with names and train, val; or Darknet's obj.data; "
    "or images/ and labels/ (also SPLIT/images/ and SPLIT/labels/) with classes.txt or obj.names"
)

_TOLERANCE = 0.01  # of a part of the image: tools round, and draw a little over the border
_DIGITS = 6  # of a pixel


def recognises(folder: pathlib.Path) -> str | None:
    """The file of the names of splits and classes, or the folders of images and labels."""
    if path := yolo_folder.description(folder):
        with contextlib.suppress(InputError):  # raised again when a split is opened
            if missing := yolo_folder.read(folder).missing:
                named = ", ".join(f"{split}: {place}" for split, place in missing.items())
                return f"{path.name}, which also names {named}: not there"
        return path.name
    if splits := yolo_folder.label_folders(folder):
        named = (path.relative_to(folder).as_posix() for path in splits.values())
        return f"{', '.join(named)} with labels"
    return None


def find_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits whose images are there.

    Raises:
        InputError: there is none, or the file of names cannot be used.
    """
    found = yolo_folder.read(folder)
    if not found.splits:
        named = [f"{split}: {path}" for split, path in found.missing.items()]
        raise InputError(
            f"{found.where} names no split that is there (missing: {', '.join(named) or 'none'}); "
            f"expected {', '.join(yolo_folder.SPLITS)}, each a folder of images or a text file of "
            "their paths"
        )
    return list(found.splits)


def open_split(folder: pathlib.Path, split: str) -> Original:
    """Lists the images of a split; their labels are read when they are asked for.

    Raises:
        InputError: there is no such split, its images are missing, or the file of names cannot be
            used.
    """
    split_names.require_name(split)
    data = yolo_folder.read(folder)
    if split in data.missing:
        raise InputError(
            f"the images of the split {split!r} are missing: {data.where} names "
            f"{data.missing[split]}, which is not there"
        )
    if split not in data.splits:
        raise split_names.no_such_split(data.where, split, find_splits(folder))
    places = data.splits[split]
    base = places[0] if len(places) == 1 and places[0].is_dir() else data.root
    images, files = [], {}
    for place in places:
        listed = None if place.is_dir() else read_lines(place)
        for path in _inside(place) if listed is None else _resolve_lines(listed, place, data.root):
            name = _relative(path, base)
            if listed is not None or as_coco.is_image(name):
                images.append(name)
            if os.path.isfile(path) and not name.endswith(".txt"):
                stat = os.stat(path)
                files[name] = File(stat.st_size, stat.st_mtime_ns)

    read = functools.partial(read_file, base)
    convert = functools.partial(_convert, data, places, base, sorted(images), files, read)
    return Original.converted(split, f"{data.where}, split {split}", convert, files, read)


def _convert(
    data: yolo_folder.Folder,
    places: list[pathlib.Path],
    base: pathlib.Path,
    images: list[str],
    files: dict[str, File],
    read: Callable[[str], bytes],
) -> tuple[bytes, list[tuple[str, str]]]:
    """COCO's JSON of a split, and what is to be noted."""
    if not images:
        raise InputError(f"{', '.join(map(str, places))} holds or lists no image")
    labels = [_label_file(base / name) for name in images]
    if not any(labels):
        raise InputError(
            f"none of the {len(images)} images of {', '.join(map(str, places))} has a file of "
            f"labels; expected the first at {_labels_path(base / images[0])} or beside it. Splits "
            "without labels are left out with --splits"
        )

    category_ids = as_coco.category_ids(data.names)

    def convert_image(name: str, label: pathlib.Path | None):
        if name not in files:
            return None, []
        try:
            height, width, orientation, *_ = read_header(read(name))
        except ValueError:  # it is named when the image is verified
            return None, []
        size = (width, height) if orientation >= 5 else (height, width)
        if label is None:
            return size, []
        return size, _objects(label, _relative(label, data.root), category_ids, size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes, objects = zip(*pool.map(convert_image, images, labels), strict=True)
    findings = [
        ("image without label file", name)
        for name, label in zip(images, labels, strict=True)
        if label is None
    ]
    used = {os.path.abspath(label) for label in labels if label is not None}
    for place in places:
        folder = _labels_path(place / "any").parent
        if place.is_dir() and folder != place and folder.is_dir():
            findings += [
                ("label file without image", _relative(path, data.root))
                for path in map(os.path.abspath, _inside(folder))
                if path.endswith(".txt") and path not in used and not path.endswith("/classes.txt")
            ]
    return as_coco.encode(images, sizes, objects, data.names), findings


def _objects(
    path: pathlib.Path, where: str, category_ids: Sequence[int], size: tuple[int, int]
) -> list[dict]:
    """COCO's entries of a file of labels."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        return [{"fault": f"{where} is no text ({error.reason})"}]
    return [
        _object(line.split(), category_ids, size, f"{where}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _object(
    words: list[str], category_ids: Sequence[int], size: tuple[int, int], where: str
) -> dict:
    """COCO's entry of a line."""
    label, *words = words
    if not re.fullmatch("[0-9]{1,9}", label):
        return {"fault": f"{where}: the class {label[:40]!r}; expected an integer from 0 on"}
    if int(label) >= len(category_ids):
        fault = (
            f"{where}: the class {label}; expected 0 to {len(category_ids) - 1}, as there are names"
        )
        return {"category_id": None, "bbox": None, "fault": fault}
    entry = {"category_id": category_ids[int(label)]}
    if fault := _fault(words):
        return {**entry, "bbox": None, "fault": f"{where}: {fault}"}
    values = [float(word) for word in words]
    if len(values) == 4:
        x, y, width, height = values
        left, top = x - width / 2, y - height / 2
    else:
        left, top = min(values[::2]), min(values[1::2])
        width, height = max(values[::2]) - left, max(values[1::2]) - top
    parts, scale = (left, top, width, height), (size[1], size[0], size[1], size[0])
    box = [round(part * pixels, _DIGITS) for part, pixels in zip(parts, scale, strict=True)]
    return {**entry, "bbox": box}


def _fault(words: list[str]) -> str | None:
    """What is wrong with the numbers behind the class, if anything."""
    if len(words) != 4 and (len(words) < 6 or len(words) % 2):
        return (
            f"{len(words)} values behind the class; expected x y width height, or the x y of three "
            "or more points"
        )
    for word in words:
        if not as_coco.NUMBER.fullmatch(word):
            return f"{word[:40]!r}; expected a number"
        if not -_TOLERANCE <= float(word) <= 1 + _TOLERANCE:
            return f"{word[:40]}; expected a part of the image, 0 to 1"
    if len(words) == 4 and min(map(float, words[2:])) < 0:
        return f"the size {words[2]} {words[3]}; expected no negative number"
    return None


def _label_file(image: pathlib.Path) -> pathlib.Path | None:
    """The file of labels of an image, if it has one."""
    beside = image.with_suffix(".txt")
    return next((path for path in (_labels_path(image), beside) if os.path.isfile(path)), None)


def _labels_path(image: pathlib.Path) -> pathlib.Path:
    """Where the labels of an image are: its last folder ``images`` becomes ``labels``."""
    parts = list(image.parent.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return pathlib.Path(*parts, image.with_suffix(".txt").name)


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    return [folder / name for name in sorted(list_files(folder))]


def _resolve_lines(lines: list[str], place: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    """Paths that a text file lists, relative to its folder or to the root."""
    return [
        yolo_folder.first_there((place.parent, root), line) or place.parent / line for line in lines
    ]


def _relative(path: pathlib.Path | str, base: pathlib.Path) -> str:
    """A path as seen from a folder, if it is in it."""
    path, base = os.path.abspath(path), os.path.abspath(base)
    inside = os.path.commonpath([path, base]) == base
    return (os.path.relpath(path, base) if inside else path).replace(os.sep, "/")
