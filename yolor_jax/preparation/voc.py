"""Pascal VOC: an XML file for each image.

Where things are: ``Annotations/``, ``JPEGImages/`` and a list of names for each split in
``ImageSets/Main/``, as VOC and CVAT publish them, also in folders below, such as
``VOCdevkit/VOC2007``; a folder for each split with images and XML side by side, as Roboflow does;
or all images in one folder (or in ``images/``) with the XML beside them or in ``annotations/``, as
LabelImg does. The stem of the name says which file belongs to which image. An image without a file
shows no object.

Boxes are those of VOC's development kit: pixels counted from 1, the last one included. So
``xmin 1, xmax 640`` is the whole width of 640 pixels, and left = xmin - 1, right = xmax. Tools that
count from 0 write boxes that come out one pixel larger at the left and top; nothing in the files
tells them apart. A difficult object is a crowd region: no false alarm, and nothing to be found.

The files number no classes: they are the names of all splits in sorted order.

    original = open_split(pathlib.Path("VOCdevkit/VOC2007"), "trainval")
    original.annotations()  # COCO's JSON
"""

import functools
import os
import pathlib
import re
from typing import NamedTuple

from yolor_jax.data import split_names
from yolor_jax.errors import InputError
from yolor_jax.preparation import as_coco, voc_xml
from yolor_jax.preparation.coco_files import Original, list_files, read_file, read_lines

NAME = "Pascal VOC"
LOOKS_FOR = (
    "Annotations/*.xml, JPEGImages/ and ImageSets/Main/SPLIT.txt, also in VOCdevkit/VOC2007/; or "
    "images and *.xml side by side in SPLIT/; or *.xml beside the images or in annotations/"
)

_SPLIT_FOLDER = re.compile(r"(train|val|test)\w*", re.IGNORECASE)
_LISTS = "ImageSets/Main"


class _Split(NamedTuple):
    """Where a split lies.

    Attributes:
        images: folder of images.
        labels: folder of XML.
        names: path of each image without its suffix; None for all that are in the folder.
    """

    images: pathlib.Path
    labels: pathlib.Path
    names: list[str] | None


def recognises(folder: pathlib.Path) -> str | None:
    """The folders of VOC, or a file of XML."""
    if _is_devkit(folder):
        return f"Annotations, JPEGImages{f', {_LISTS}' if (folder / _LISTS).is_dir() else ''}"
    if kits := _kits_below(folder):
        return ", ".join(f"{kit.relative_to(folder).as_posix()}/Annotations" for kit in kits)
    for split in _folders(folder).values():
        return next(split.labels.glob("*.xml")).relative_to(folder).as_posix()
    return None


def find_splits(folder: pathlib.Path) -> list[str]:
    """Names of the splits: of the lists, of the folders, or ``train`` if there is but one.

    Raises:
        InputError: a list cannot be read.
    """
    return sorted(_splits(folder))


def open_split(folder: pathlib.Path, split: str) -> Original:
    """Lists the images of a split; the XML is read when it is asked for.

    Raises:
        InputError: there is no such split, it has no images, or a list cannot be read.
    """
    split_names.require_name(split)
    splits = _splits(folder)
    if split not in splits:
        raise split_names.no_such_split(folder, split, sorted(splits))
    place = splits[split]
    there = {n: file for n, file in list_files(place.images).items() if as_coco.is_image(n)}
    if place.names is None:
        images = sorted(there)
    else:
        by_stem = {_stem(name): name for name in sorted(there, reverse=True)}
        images = [by_stem.get(name, f"{name}.jpg") for name in place.names]
    if not images:
        raise InputError(f"the split {split!r} of {folder} has no images; expected some")

    return Original.converted(
        split,
        where=f"{place.labels}, split {split}",
        convert=functools.partial(_convert, folder, splits, split, images),
        files={name: there[name] for name in images if name in there},
        read=functools.partial(read_file, place.images),
    )


def _convert(
    folder: pathlib.Path, splits: dict[str, _Split], split: str, images: list[str]
) -> tuple[bytes, list[tuple[str, str]]]:
    """COCO's JSON of a split, and what is to be noted."""
    parsed = {place.labels: _parse_all(place.labels, folder) for place in splits.values()}
    names = sorted(
        {entry["name"] for files in parsed.values() for file in files.values()
         for entry in file.objects if "name" in entry}
    )  # fmt: skip
    category_ids = dict(zip(names, as_coco.category_ids(names), strict=True))
    labels = splits[split].labels
    mine, stems = parsed[labels], [_stem(name) for name in images]
    if not mine.keys() & set(stems):
        raise InputError(
            f"none of the {len(images)} images of the split {split!r} has a file of XML; expected "
            f"the first at {labels / stems[0]}.xml. Splits without any are left out with --splits"
        )
    findings = [("classes in sorted order", ", ".join(names))]
    findings += [
        ("image without label file", image)
        for image, stem in zip(images, stems, strict=True)
        if stem not in mine
    ]
    if splits[split].names is None:
        unused = sorted(mine.keys() - set(stems))
        findings += [("label file without image", f"{stem}.xml") for stem in unused]
    files = [mine.get(stem, voc_xml.Parsed(None, [])) for stem in stems]
    objects = [[_entry(entry, category_ids) for entry in file.objects] for file in files]
    return as_coco.encode(images, [file.size for file in files], objects, names), findings


def _parse_all(labels: pathlib.Path, folder: pathlib.Path) -> dict[str, voc_xml.Parsed]:
    """What all files of a folder say, by their names without suffix."""
    return {
        _stem(name): voc_xml.parse(
            (labels / name).read_bytes(), (labels / name).relative_to(folder).as_posix()
        )
        for name in sorted(list_files(labels))
        if name.lower().endswith(".xml")
    }


def _entry(entry: dict, category_ids: dict[str, int]) -> dict:
    """The object with the id of its class in place of the name."""
    if "name" not in entry:
        return entry
    rest = {key: value for key, value in entry.items() if key != "name"}
    return {"category_id": category_ids[entry["name"]], **rest}


def _splits(folder: pathlib.Path) -> dict[str, _Split]:
    """All splits by name."""
    if _is_devkit(folder):
        return _lists(folder)
    kits = _kits_below(folder)
    if len(kits) == 1:
        return _lists(kits[0])
    named = {f"{name}_{kit.name}": split for kit in kits for name, split in _lists(kit).items()}
    return named or _folders(folder)


def _lists(folder: pathlib.Path) -> dict[str, _Split]:
    """The splits that ``ImageSets/Main`` lists, or the one of all images."""
    images, labels = folder / "JPEGImages", folder / "Annotations"
    lists = {path.stem: path for path in (folder / _LISTS).glob("*.txt")}
    # Those of a class, such as car_train.txt, list the images again, each with a number.
    whole = {n: path for n, path in lists.items() if n.rpartition("_")[2] not in {*lists} - {n}}
    found = {name: _Split(images, labels, read_lines(path)) for name, path in whole.items()}
    return found or {"train": _Split(images, labels, None)}


def _is_devkit(folder: pathlib.Path) -> bool:
    return (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir()


def _kits_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Years of a development kit, in the folder or in its ``VOCdevkit``."""
    found = [*folder.glob("*/Annotations"), *folder.glob("VOCdevkit/*/Annotations")]
    return sorted(path.parent for path in found if _is_devkit(path.parent))


def _folders(folder: pathlib.Path) -> dict[str, _Split]:
    """The splits that are folders, or the one of all images."""
    if not folder.is_dir():
        return {}
    named = [p for p in folder.iterdir() if _SPLIT_FOLDER.fullmatch(p.name) and _has_xml(p)]
    if named:
        return {path.name: _Split(path, path, None) for path in sorted(named)}
    images = folder / "images" if (folder / "images").is_dir() else folder
    for labels in (folder / "annotations", folder / "Annotations", images, folder):
        if _has_xml(labels):
            return {"train": _Split(images, labels, None)}
    return {}


def _has_xml(folder: pathlib.Path) -> bool:
    return any(folder.glob("*.xml"))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
