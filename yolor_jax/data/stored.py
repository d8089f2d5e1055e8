"""Reads a TFDS directory with the features of coco/2017, without TensorFlow.

stored = read(pathlib.Path("prepared/coco"), "val2017")
stored.rows[0]["image/filename"], stored.class_names
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow_datasets as tfds

_FEATURES = {"image", "image/filename", "image/id", "objects"}
_OBJECT_FEATURES = {"area", "bbox", "id", "is_crowd", "label"}


class Stored(NamedTuple):
    """One split of a TFDS directory.

    Attributes:
        directory: Where dataset_info.json lies.
        rows: Random access to the records as dicts; images stay encoded.
        class_names: Name of class 0 .. K - 1.
    """

    directory: pathlib.Path
    rows: Sequence[dict]
    class_names: tuple[str, ...]


def find_splits(path: pathlib.Path) -> list[str]:
    """Names of the splits of a data set.

    Args:
        path: The directory of dataset_info.json, or one or two levels above it.

    Raises:
        ValueError: If it is no such directory.
    """
    return list(tfds.builder_from_directory(_find(path)).info.splits)


def read(path: pathlib.Path, split: str) -> Stored:
    """Opens one split.

    Args:
        path: The directory of dataset_info.json, or one or two levels above it.
        split: Name of the split.

    Raises:
        ValueError: If it is no such directory, holds TFRecord files, or has no such split.
    """
    directory = _find(path)
    builder = tfds.builder_from_directory(directory)
    file_format = builder.info.file_format
    if file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        raise ValueError(
            f"{directory} holds {file_format.value} files, which need TensorFlow to be read; "
            "convert it where TensorFlow is (`tfds convert_format --dataset_version_dir=OLD "
            "--out_file_format=array_record --out_dir=NEW`), or give the COCO-format folder itself"
        )
    _check(builder, directory, split)
    rows = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return Stored(directory, rows, tuple(builder.info.features["objects"]["label"].names))


def _check(builder: tfds.core.DatasetBuilder, directory: pathlib.Path, split: str) -> None:
    """Raises a ValueError unless the data set has a split and the features of coco/2017."""
    features = builder.info.features
    lacking = _FEATURES - set(features.keys())
    if not lacking:
        lacking = {f"objects/{f}" for f in _OBJECT_FEATURES - set(features["objects"].keys())}
    if lacking:
        raise ValueError(
            f"{directory} lacks the features {sorted(lacking)}; expected those of coco/2017: "
            f"{sorted(_FEATURES)}, objects with {sorted(_OBJECT_FEATURES)}"
        )
    if split not in builder.info.splits:
        raise ValueError(
            f"{directory} has no split {split!r}; it has {sorted(builder.info.splits)}"
        )


def _find(path: pathlib.Path) -> pathlib.Path:
    """The one directory with a dataset_info.json at `path` or up to two levels below."""
    found = [p for level in ("", "*/", "*/*/") for p in path.glob(f"{level}dataset_info.json")]
    found = [p.parent for p in found if not p.parent.name.startswith(".")]
    if not found:
        raise ValueError(
            f"{path} is no data set: expected 'shapes', a COCO-format folder (with annotations/"
            "instances_SPLIT.json and images in SPLIT/), or a TFDS directory (dataset_info.json)"
        )
    if len(found) > 1:
        raise ValueError(f"{path} holds several data sets, name one: {[str(p) for p in found]}")
    return found[0]
