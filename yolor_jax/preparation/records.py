"""How prepared data lies on disk: a TFDS directory with two sidecars.

TFDS stores what it always stores of COCO (`coco_features`), in array_record files, so any TFDS
reader understands it. It cuts `area` to an integer and boxes to normalised float32, therefore each
split has two files beside it: `ground_truth_{split}.json`, COCO format with every number as it was
(for evaluation), and `targets_{split}.npz`, the exact boxes in pixels (for training). Records stand
in the order in which they were given.

Written by TFDS's `SequentialWriter`: a `GeneratorBasedBuilder` shuffles on disk through TensorFlow
as soon as a split is larger than one gigabyte. A directory appears under its name when it is
complete: it is written beside it and renamed at the end.

    categories = [{"id": 1, "name": "disc"}]
    write(directory, name="shapes", categories=categories, splits={"train": records})
"""

import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, Int32

from yolor_jax.data.targets import Targets, ground_truth_path, targets_path
from yolor_jax.errors import InputError

EXAMPLES_PER_SHARD = 1000
_EXAMPLES_PER_CALL = 64


class Record(NamedTuple):
    """One image to be stored.

    Attributes:
        jpeg: encoded image.
        image: COCO's entry: id, file_name, height, width of the stored pixels.
        annotations: COCO's entries of this image with their original numbers.
        boxes_xyxy: targets for training, in pixels, inside the image; a subset of the annotations.
        labels: class of each target, 0 .. K - 1.
        annotation_rows: position of each target in `annotations`.
    """

    jpeg: bytes
    image: dict
    annotations: list[dict]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    labels: Int32[np.ndarray, " n"]
    annotation_rows: list[int]


def coco_features(class_names: Iterable[str]) -> tfds.features.FeaturesDict:
    """The features of the TFDS data set coco/2017, with any list of classes."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "image/filename": tfds.features.Text(),
            "image/id": np.int64,
            "objects": tfds.features.Sequence(
                {
                    "area": np.int64,
                    "bbox": tfds.features.BBoxFeature(),
                    "id": np.int64,
                    "is_crowd": np.bool_,
                    "label": tfds.features.ClassLabel(names=list(class_names)),
                }
            ),
        }
    )


@contextlib.contextmanager
def lock(directory: pathlib.Path) -> Iterator[None]:
    """Lets one process of a machine prepare `directory`; others wait. A killed one lets go."""
    with open(directory.with_name(f".{directory.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(
    directory: pathlib.Path,
    *,
    name: str,
    categories: list[dict],
    splits: dict[str, Iterable[Record]],
    extra_files: dict[str, str] | None = None,
) -> None:
    """Writes a TFDS directory with its sidecars, under its name only when it is complete.

    Args:
        directory: what to write; its parent must exist.
        name: name of the data set, lower case with underscores.
        categories: COCO's entries (id, name), in the order of the labels.
        splits: records of each split; none may be empty.
        extra_files: further text files to lay into the directory, by name.

    Raises:
        InputError: if a split is empty or a name does not suit TFDS.
        OSError: if it cannot be written.
    """
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    identity = tfds.core.DatasetIdentity(
        name=name, version=tfds.core.Version("1.0.0"), data_dir=str(partial), module_name=__name__
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        description=f"{name}, with the features of coco/2017",
        features=coco_features(category["name"] for category in categories),
        disable_shuffling=True,
    )
    writer = tfds.core.SequentialWriter(
        info, max_examples_per_shard=EXAMPLES_PER_SHARD, file_format="array_record"
    )
    writer._serializer = _Serializer(info.features.get_serialized_info())
    writer.initialize_splits(list(splits))
    for split, records in splits.items():
        try:
            _write_split(writer, partial, split, categories, records)
        except RuntimeError as error:  # of array_record
            raise OSError(
                f"{directory} could not be written; make room, then give the same command again "
                f"({error})"
            ) from error
    _compare(partial, categories, splits)
    for file_name, text in (extra_files or {}).items():
        (partial / file_name).write_text(text)
    os.rename(partial, directory)


class _Serializer(tfds.core.example_serializer.ExampleSerializer):
    """Gives equal bytes for equal records; TFDS's own orders the features anew in each process."""

    def serialize_example(self, example: dict) -> bytes:
        return self.get_tf_example(example).SerializeToString(deterministic=True)


def _write_split(writer, directory, split, categories, records) -> None:
    """Streams the records of one split, then writes its sidecars."""
    images, annotations = [], []
    kept = []  # (image id, boxes, labels, crowd) of each image
    records = iter(records)
    while chunk := list(itertools.islice(records, _EXAMPLES_PER_CALL)):
        writer.add_examples({split: [_to_features(record) for record in chunk]})
        for record in chunk:
            images.append(record.image)
            annotations += record.annotations
            crowd = [bool(record.annotations[i]["iscrowd"]) for i in record.annotation_rows]
            kept.append((record.image["id"], record.boxes_xyxy, record.labels, crowd))
    if not images:
        raise InputError(f"split {split!r} has no image; a data set needs at least one")
    writer.close_splits([split])
    ids, boxes, labels, crowds = zip(*kept, strict=True)
    targets = Targets(
        category_ids=np.array([category["id"] for category in categories], np.int64),
        image_ids=np.array(ids, np.int64),
        start=np.cumsum([0, *map(len, labels)], dtype=np.int64),
        boxes_xyxy=np.concatenate(boxes).astype(np.float32),
        labels=np.concatenate(labels).astype(np.int32),
        is_crowd=np.concatenate(crowds).astype(bool),
        size_hw=np.array([[image["height"], image["width"]] for image in images], np.int32),
    )
    np.savez(targets_path(directory, split), **targets._asdict())
    ground_truth = {"images": images, "annotations": annotations, "categories": categories}
    ground_truth_path(directory, split).write_text(json.dumps(ground_truth))


def _compare(directory: pathlib.Path, categories: list[dict], splits: Iterable[str]) -> None:
    """Reads again what TFDS wrote; raises an InputError if names or counts did not survive."""
    info = tfds.builder_from_directory(directory).info
    names = [category["name"] for category in categories]
    if info.features["objects"]["label"].names != names:
        raise InputError(
            f"the class names {names} do not survive in the text file in which TFDS keeps them; "
            "give them other ones"
        )
    for split in splits:
        with np.load(targets_path(directory, split)) as targets:
            images = len(targets["image_ids"])
        if info.splits[split].num_examples != images:
            raise OSError(f"{directory} holds {info.splits[split].num_examples} of {images} images")


def _to_features(record: Record) -> dict:
    """One record as TFDS wants it: Python floats in [0, 1], areas cut to integers."""
    height, width = record.image["height"], record.image["width"]
    objects = []
    for box, label, row in zip(
        record.boxes_xyxy.astype(np.float64), record.labels, record.annotation_rows, strict=True
    ):
        left, top, right, bottom = (box / [width, height, width, height]).clip(0.0, 1.0).tolist()
        annotation = record.annotations[row]
        objects.append(
            {
                "area": int(annotation["area"]),
                "bbox": tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right),
                "id": annotation["id"],
                "is_crowd": bool(annotation["iscrowd"]),
                "label": int(label),
            }
        )
    return {
        "image": record.jpeg,
        "image/filename": record.image["file_name"],
        "image/id": record.image["id"],
        "objects": objects,
    }
