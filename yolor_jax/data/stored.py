"""Reads a TFDS directory with the features of coco/2017, without TensorFlow.

The rows are what TFDS stored, encoded images among them:

    stored = read(pathlib.Path("prepared/coco"), "val2017")
    stored.rows[0]["image/filename"], stored.class_names
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow_datasets as tfds

from yolor_jax.data import split_names
from yolor_jax.errors import InputError

_FEATURES = {"image", "image/filename", "image/id", "objects"}
_OBJECT_FEATURES = {"area", "bbox", "id", "is_crowd", "label"}


class Stored(NamedTuple):
    """One split of a TFDS directory.

    Attributes:
        directory: where dataset_info.json lies.
        rows: random access to the records as dicts; images stay encoded.
        class_names: name of class 0 .. K - 1.
    """

    directory: pathlib.Path
    rows: Sequence[dict]
    class_names: tuple[str, ...]


def find_splits(path: pathlib.Path) -> list[str]:
    """Names of the splits of a data set.

    Args:
        path: the directory of dataset_info.json, or one or two levels above it.

    Raises:
        InputError: if it is no such directory.
    """
    return list(_builder(_find(path)).info.splits)


def holds_info(path: pathlib.Path) -> bool:
    """Whether there is a dataset_info.json at a path or up to two levels below it."""
    return bool(_directories(path))


def is_array_record(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether a data set is of files that give random access without TensorFlow."""
    return builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD


def open_builder(path: pathlib.Path, split: str) -> tuple[pathlib.Path, tfds.core.DatasetBuilder]:
    """The directory of dataset_info.json, and its content, whatever the format of its files.

    Args:
        path: the directory of dataset_info.json, or one or two levels above it.
        split: name of a split that it must have.

    Raises:
        InputError: if it is no such directory, lacks features of coco/2017, or has no such split.
    """
    directory = _find(path)
    builder = _builder(directory)
    if lacking := _lacking_features(builder.info.features):
        raise InputError(
            f"{directory} lacks the features {sorted(lacking)}; expected those of coco/2017: "
            f"{sorted(_FEATURES)}, objects with {sorted(_OBJECT_FEATURES)}"
        )
    if split not in builder.info.splits:
        raise split_names.no_such_split(directory, split, sorted(builder.info.splits))
    return directory, builder


def read(path: pathlib.Path, split: str) -> Stored:
    """Opens one split.

    Args:
        path: the directory of dataset_info.json, or one or two levels above it.
        split: name of the split.

    Raises:
        InputError: if it is no such directory, holds TFRecord files, or has no such split.
    """
    directory, builder = open_builder(path, split)
    if not is_array_record(builder):
        raise InputError(
            f"{directory} holds {builder.info.file_format.value} files, in which no image can be "
            f"found without reading all before it; convert it once: yolor prepare {directory}"
        )
    rows = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    return Stored(directory, rows, tuple(builder.info.features["objects"]["label"].names))


def _builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
    """What dataset_info.json and features.json say."""
    try:
        return tfds.builder_from_directory(directory)
    except Exception as error:  # TFDS and protobuf raise nearly everything on damaged files
        raise InputError(
            f"{directory}: dataset_info.json or features.json is damaged or missing; copy the "
            f"directory again ({error})"
        ) from error


def _lacking_features(features: tfds.features.FeaturesDict) -> set[str]:
    """Features of coco/2017 that are not there, or of another type."""
    if lacking := _FEATURES - set(features.keys()):
        return lacking
    objects = features["objects"]
    if not isinstance(objects, tfds.features.Sequence) or not isinstance(
        objects.feature, tfds.features.FeaturesDict
    ):
        return {"objects"}
    if lacking := _OBJECT_FEATURES - set(objects.keys()):
        return {f"objects/{name}" for name in lacking}
    return set() if isinstance(objects["label"], tfds.features.ClassLabel) else {"objects/label"}


def _find(path: pathlib.Path) -> pathlib.Path:
    """The one directory with a dataset_info.json at `path` or up to two levels below."""
    found = _directories(path)
    if not found:
        raise InputError(
            f"{path} is no data set that was prepared: expected dataset_info.json in it, or one or "
            "two levels below"
        )
    if len(found) > 1:
        raise InputError(f"{path} holds several data sets, name one: {[str(p) for p in found]}")
    return found[0]


def _directories(path: pathlib.Path) -> list[pathlib.Path]:
    found = [p for level in ("", "*/", "*/*/") for p in path.glob(f"{level}dataset_info.json")]
    return [p.parent for p in found if not p.parent.name.startswith(".")]
