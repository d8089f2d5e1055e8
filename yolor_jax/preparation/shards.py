"""The files of a split: which record goes into which, and how one is written.

    for number, positions in enumerate(shards(len(records))):
        write_shard(shard_path(folder, "val2017", number), class_names, records_of(positions))

What goes where follows from the number of records alone, and equal records give equal bytes: the
files are the same, however many processes write them.
"""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float, Int32

from yolor_jax.whole_file import whole_file

EXAMPLES_PER_SHARD = 1000


class Record(NamedTuple):
    """One image to be stored.

    Attributes:
        jpeg: encoded image, JPEG as a rule; empty where only the rest of it matters.
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


def shards(size: int) -> list[range]:
    """The positions of the records of each shard, for a split of so many."""
    starts = range(0, size, EXAMPLES_PER_SHARD)
    return [range(start, min(start + EXAMPLES_PER_SHARD, size)) for start in starts]


def shard_path(folder: pathlib.Path, split: str, number: int) -> pathlib.Path:
    """Where a shard lies until all are there, and get the names by which TFDS knows them."""
    return folder / f"{split}-{number:05d}.shard"


def write_shard(
    path: pathlib.Path, class_names: Sequence[str], records: Iterable[Record]
) -> pathlib.Path:
    """Writes a shard, whole or not at all.

    Args:
        path: of the file; its folder exists.
        class_names: of all K classes.
        records: that go into it, in their order.

    Returns:
        The path.

    Raises:
        OSError: it cannot be written.
    """
    features = coco_features(class_names)
    serializer = _Serializer(features.get_serialized_info())
    with whole_file(path) as temporary:
        try:
            writer = ArrayRecordWriter(os.fspath(temporary), "group_size:1")
            for record in records:
                example = features.encode_example(_to_features(record))
                writer.write(serializer.serialize_example(example))
            writer.close()
        except RuntimeError as error:  # of array_record
            raise OSError(
                f"{path} could not be written; make room, then give the same command again "
                f"({error})"
            ) from error
    return path


class _Serializer(tfds.core.example_serializer.ExampleSerializer):
    """Gives equal bytes for equal records; TFDS's own orders the features anew in each process."""

    def serialize_example(self, example: dict) -> bytes:
        return self.get_tf_example(example).SerializeToString(deterministic=True)


def _to_features(record: Record) -> dict:
    """One record as TFDS wants it: Python floats in [0, 1], areas cut to integers."""
    jpeg, image, annotations, boxes_xyxy, labels, rows = record
    height, width = image["height"], image["width"]
    objects = []
    for box, label, row in zip(boxes_xyxy.astype(np.float64), labels, rows, strict=True):
        left, top, right, bottom = (box / [width, height, width, height]).clip(0.0, 1.0).tolist()
        annotation = annotations[row]
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
        "image": jpeg,
        "image/filename": image["file_name"],
        "image/id": image["id"],
        "objects": objects,
    }
