"""COCO as annotation tools export it: other places, other file names, and a category of no object.

Roboflow writes ``SPLIT/_annotations.coco.json`` beside the images of each split. Its category 0 is
the super-category of the others, and is left out where no annotation of any split has it. Label
Studio writes ``result.json`` and ``images/``, others any file in ``annotations/``. A split
is called as its folder, or else as its file.

Names of images may hold folders of another machine, backslashes and ``%20``: an image is the one
file whose path ends in most of the name. Where several do, none is taken.

    original = open_split(pathlib.Path("pets.v3i.coco"), "valid")
    original.annotations()  # with the file names that are there
"""

import collections
import functools
import json
import pathlib
import re
import urllib.parse
from typing import NamedTuple

from yolor_jax.data import split_names
from yolor_jax.preparation import annotations, as_coco
from yolor_jax.preparation.coco_files import Original, list_files, read_file

NAME = "COCO as a tool exports it"
LOOKS_FOR = (
    "SPLIT/_annotations.coco.json beside its images; or result.json, or one *.json or "
    "annotations/*.json, with images/ or images beside it"
)

_ROBOFLOW = "_annotations.coco.json"


class _Split(NamedTuple):
    """File of annotations, and folder of images."""

    file: pathlib.Path
    images: pathlib.Path


def recognises(folder: pathlib.Path) -> str | None:
    """The file of annotations of the first split."""
    splits = _splits(folder)
    return min(splits.values()).file.relative_to(folder).as_posix() if splits else None


def find_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits: of folders, or else of files."""
    return sorted(_splits(folder))


def open_split(folder: pathlib.Path, split: str) -> Original:
    """Lists the images of a split; annotations are read when they are asked for.

    Raises:
        InputError: there is no such split.
    """
    split_names.require_name(split)
    splits = _splits(folder)
    if split not in splits:
        raise split_names.no_such_split(folder, split, sorted(splits))
    file, images = splits[split]
    files = {n: there for n, there in list_files(images).items() if not n.endswith(".json")}

    return Original.converted(
        split,
        where=str(file),
        convert=functools.partial(_convert, splits, split, sorted(files)),
        files=files,
        read=functools.partial(read_file, images),
    )


def _splits(folder: pathlib.Path) -> dict[str, _Split]:
    """All splits by name."""
    if named := {path.parent.name: path for path in folder.glob(f"*/{_ROBOFLOW}")}:
        return {name: _Split(path, path.parent) for name, path in sorted(named.items())}
    if (folder / "dataset_info.json").is_file():  # of TFDS
        return {}
    annotated = sorted(folder.glob("annotations/*.json"))
    single = list(folder.glob("*.json"))
    files = [folder / "result.json"] if (folder / "result.json").is_file() else annotated
    if not files and len(single) == 1:
        files = single
    places = {_split_name(file): file for file in files}
    found = {name: _Split(file, _image_folder(folder, name)) for name, file in places.items()}
    return found if all(_holds_images(split.images) for split in found.values()) else {}


def _split_name(path: pathlib.Path) -> str:
    """The name of a file as letters, digits and underscores."""
    return re.sub(r"\W+", "_", path.stem).strip("_") or "all"


def _image_folder(folder: pathlib.Path, split: str) -> pathlib.Path:
    """Where the images of a split are, if they are anywhere."""
    images = folder / "images"
    places = (folder / split, images / split, images)
    return next((place for place in places if place.is_dir()), folder)


def _holds_images(folder: pathlib.Path) -> bool:
    return any(as_coco.is_image(path.name) for path in folder.rglob("*"))


def _convert(
    splits: dict[str, _Split], split: str, files: list[str]
) -> tuple[bytes, list[tuple[str, str]]]:
    """The annotations of a split with the names of its files, and what is to be noted."""
    parsed = {
        name: annotations.parse(place.file.read_bytes(), str(place.file))
        for name, place in splits.items()
    }
    coco, findings = parsed[split], []
    super_category = _unused_super_category(list(parsed.values()))
    if super_category is not None:
        findings.append(("super-category left out", super_category))
        rest = [c for c in coco["categories"] if not _is_zero(c)]
        coco = {**coco, "categories": rest}
    known, by_end = set(files), _by_end(files)
    images = []
    for image in coco["images"]:
        name = image.get("file_name") if isinstance(image, dict) else None
        if isinstance(name, str) and name not in known:
            found = _ending_like(name, known, by_end)
            if len(found) == 1:
                findings.append(("file name matched by its end", f"{name} -> {found[0]}"))
                image = {**image, "file_name": found[0]}
            elif found:
                findings.append(("file name of several files", f"{name} -> {', '.join(found[:3])}"))
        images.append(image)
    return json.dumps({**coco, "images": images}).encode(), findings


def _unused_super_category(splits: list[dict]) -> str | None:
    """Name of the category 0 if others name it as theirs, and no annotation of any split has it."""
    categories = [c for coco in splits for c in coco["categories"] if isinstance(c, dict)]
    name = next((c.get("name") for c in categories if _is_zero(c)), None)
    others = [c for c in categories if not _is_zero(c)]
    if not isinstance(name, str) or not any(c.get("supercategory") == name for c in others):
        return None
    entries = (a for coco in splits for a in coco["annotations"] if isinstance(a, dict))
    return None if any(a.get("category_id") == 0 for a in entries) else name


def _is_zero(category: object) -> bool:
    return isinstance(category, dict) and category.get("id") == 0


def _by_end(files: list[str]) -> dict[str, list[str]]:
    """The files by each end of their paths, in whole parts."""
    ends = collections.defaultdict(list)
    for file in files:
        parts = file.split("/")
        for start in range(len(parts)):
            ends["/".join(parts[start:])].append(file)
    return ends


def _ending_like(name: str, known: set[str], by_end: dict[str, list[str]]) -> list[str]:
    """The files that end in most of a name, as it stands or with ``%20`` for a space."""
    for spelling in (name, urllib.parse.unquote(name)):
        parts = spelling.replace("\\", "/").replace("?d=", "/").split("/")  # ?d=: Label Studio
        if "/".join(parts) in known:
            return ["/".join(parts)]
        for start in range(len(parts)):
            if found := by_end.get("/".join(parts[start:])):
                return found
    return []
