"""What a folder of YOLO text labels says of itself: names of classes, and places of its splits.

``data.yaml`` has the names (a list, or a dict by number) and for each split a folder, a list of
folders, or a text file that lists images. They are looked for from its ``path`` on and then from
its own folder on, also without a leading ``../``, which Roboflow writes, or ``data/``, as Darknet
does. Darknet's ``obj.data`` says the same in lines of ``key = value``, its names in a file. Without
either, names are the lines of ``classes.txt`` or ``obj.names``, and splits the folders of
``images/``, or those that hold ``images/`` and ``labels/``.

    read(pathlib.Path("coco128")).splits["train"]  # [PosixPath("coco128/images/train2017")]
"""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import yaml

from yolor_jax.errors import InputError
from yolor_jax.preparation.coco_files import read_lines

SPLITS = ("train", "val", "valid", "validation", "test")
"""Keys of data.yaml and obj.data."""

_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")
_DARKNET = ".data"
_NOTHING = ("", "null", "~")  # a value that is left empty


class Folder(NamedTuple):
    """What there is of a data set.

    Attributes:
        where: the names stand, for messages.
        root: paths in messages, and of images from several places, are relative to it.
        names: of class 0 .. K - 1.
        splits: folders and lists of images of each split.
        missing: splits that are named, but of which something is not there, and that path.
    """

    where: pathlib.Path
    root: pathlib.Path
    names: list[str]
    splits: dict[str, list[pathlib.Path]]
    missing: dict[str, pathlib.Path]


def read(folder: pathlib.Path) -> Folder:
    """Names and splits of a data set."""
    path = description(folder)
    return _read_folders(folder) if path is None else _read_described(path)


def description(folder: pathlib.Path) -> pathlib.Path | None:
    """The file that describes a data set, which may be named itself."""
    if folder.is_file():
        return folder if folder.suffix in (".yaml", ".yml", _DARKNET) else None
    stems = ("data", "dataset", folder.name)
    names = [f"{stem}{suffix}" for stem in stems for suffix in (".yaml", ".yml")]
    paths = (folder / name for name in [*names, f"obj{_DARKNET}"])
    return next((path for path in paths if path.is_file()), None)


def _read_described(path: pathlib.Path) -> Folder:
    content = _load_darknet(path) if path.suffix == _DARKNET else _load(path)
    if "kpt_shape" in content:
        raise InputError(
            f"{path} is of key points (kpt_shape); expected labels of boxes or outlines"
        )
    root = content.get("path", "")
    if not isinstance(root, str):
        raise InputError(f"{path}: path is {root!r}; expected that of a folder")
    root = path.parent / ("" if root in _NOTHING else root)
    bases = [base for base in (root, path.parent) if os.path.isdir(base)]
    splits, missing = {}, {}
    for split in SPLITS:
        entries = content.get(split, [])
        places = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                raise InputError(
                    f"{path}: {split} is {entry!r}; expected a path or a list of paths"
                )
            if entry in _NOTHING:
                continue
            there = first_there(bases, entry)
            if there is None:
                missing[split] = root / entry
            else:
                places.append(there)
        if places and split not in missing:
            splits[split] = places
    return Folder(path, bases[0], _class_names(content, path), splits, missing)


class _Loader(yaml.BaseLoader):
    """Takes every value as the text that it is (``no`` names a class, too), and every key once."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(path: pathlib.Path) -> dict:
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings; expected names, and train and val")
    return content


def _load_darknet(path: pathlib.Path) -> dict:
    """What ``data.yaml`` would say in the place of Darknet's file."""
    lines = [line for line in read_lines(path) if not line.startswith("#")]
    pairs = [[word.strip() for word in line.split("=", 1)] for line in lines]
    content = dict(pair for pair in pairs if len(pair) == 2)
    if len(content) < len(lines):
        raise InputError(f"{path}: expected lines of key = value, each key once")
    names = first_there([path.parent], content.get("names", ""))
    if names is None or not names.is_file():
        raise InputError(
            f"{path}: names is {content.get('names', '')!r}; expected the path of a text file with "
            "a name on each line"
        )
    splits = {split: content[split] for split in SPLITS if split in content}
    names = read_lines(names)
    return {**splits, "names": names, "nc": content.get("classes", str(len(names)))}


def _class_names(content: dict, path: pathlib.Path) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        expected = {str(number) for number in range(len(names))}
        if set(names) != expected:
            raise InputError(
                f"{path}: names has the numbers {sorted(map(str, names))[:10]}; expected 0 to "
                f"{len(names) - 1}, each once"
            )
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InputError(
            f"{path}: expected names, the names of the classes as a list or by number; "
            f"got {str(names)[:60]}"
        )
    count = content.get("nc", str(len(names)))
    if count != str(len(names)):
        key = "classes" if path.suffix == _DARKNET else "nc"
        raise InputError(f"{path}: {key} is {count}, and there are {len(names)} names; correct one")
    return names


def _read_folders(folder: pathlib.Path) -> Folder:
    """Names and splits of a data set without data.yaml."""
    path = next((folder / name for name in _NAME_FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(
            f"{folder} holds images and labels, but no names of classes; expected data.yaml with "
            f"names, or one of {', '.join(_NAME_FILES)} with a name on each line"
        )
    splits = {split: [place] for split, place in label_folders(folder).items()}
    return Folder(path, folder, read_lines(path), splits, {})


def label_folders(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The folders of images, by the name of their split, that have one of labels beside them."""
    nested = {p.parent.name: p for p in folder.glob("*/images") if _has_labels(p)}
    if nested or not _has_labels(folder / "images"):
        return dict(sorted(nested.items()))
    inside = {p.name: p for p in (folder / "images").iterdir() if p.is_dir()}
    return dict(sorted(inside.items())) or {"train": folder / "images"}


def _has_labels(images: pathlib.Path) -> bool:
    return images.is_dir() and images.with_name("labels").is_dir()


def first_there(bases: Sequence[pathlib.Path], name: str) -> pathlib.Path | None:
    """The first folder's path of this name that is there, without what tools write before it."""
    names = (name, name.removeprefix("../"), name.removeprefix("data/"))
    paths = (base / name for name in names for base in bases)
    return next((path for path in paths if os.path.exists(path)), None)
