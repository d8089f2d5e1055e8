"""Prepared data sets, and one way to read them: `Source`, random access to `Example`s.

A TFDS directory with the features of coco/2017 in array_record files, as `preparation` and TFDS
itself write them.

    source = open_source("data/prepared/coco", "val2017")
    source[0].boxes_xyxy  # pixels of the original image
    source.class_names, source.category_ids, source.ground_truth()
"""

import operator
import pathlib
from typing import SupportsIndex

import numpy as np

from yolor_jax.data import classes
from yolor_jax.data.encoded import read_header
from yolor_jax.data.example import Example
from yolor_jax.data.stored import Stored, read
from yolor_jax.data.targets import (
    Targets,
    ground_truth_path,
    read_ground_truth,
    read_targets,
    targets_path,
)
from yolor_jax.errors import InputError
from yolor_jax.paths import local_path

Path = str | pathlib.Path


class Source:
    """Random access to the images of one split, safe to read from several threads.

    Attributes:
        class_names: name of class 0 .. K - 1.
        category_ids: COCO category id of class 0 .. K - 1.
        directory: the TFDS directory.
        split: name of the split.
    """

    def __init__(
        self,
        stored: Stored,
        split: str,
        *,
        category_ids: tuple[int, ...],
        annotations: pathlib.Path | None,
        targets: Targets | None,
    ):
        """Use `open_source`."""
        self.directory = stored.directory
        self.split = split
        self.class_names = stored.class_names
        self.category_ids = category_ids
        self._stored = stored.rows
        self._annotations = annotations
        self._targets = targets
        self._image_ids = None if targets is None else tuple(targets.image_ids.tolist())

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: SupportsIndex) -> Example:
        """Reads one image and its objects.

        Raises:
            IndexError: if there is no such position.
            InputError: if the record is damaged, the stored image is truncated, or the records do
                not fit their sidecar.
        """
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"got position {index} in a split of {len(self)} images")
        try:
            record = self._stored[index]
        except RuntimeError as error:  # of array_record
            raise InputError(
                f"record {index} of the split {self.split} in {self.directory} cannot be read; "
                f"prepare the data set again ({error})"
            ) from error
        if self._targets is None:
            return self._from_features(record, index)
        targets = self._targets
        if record["image/id"] != targets.image_ids[index]:
            raise InputError(
                f"{targets_path(self.directory, self.split)} does not belong to the "
                f"records beside it (image {index}); delete {self.directory} and prepare it again"
            )
        rows = slice(targets.start[index], targets.start[index + 1])
        return Example(
            jpeg=record["image"],
            boxes_xyxy=targets.boxes_xyxy[rows],
            labels=targets.labels[rows],
            is_crowd=targets.is_crowd[rows],
            index=index,
            identity=None if targets.identity is None else targets.identity[rows],
        )

    def name(self, index: SupportsIndex) -> str:
        """File name of an image, for messages and pictures."""
        return self._stored[operator.index(index)]["image/filename"].decode(
            errors="backslashreplace"
        )

    @property
    def targets(self) -> Targets | None:
        """The boxes of all images at once; None if no sidecar has them."""
        return self._targets

    @property
    def image_ids(self) -> tuple[int, ...]:
        """COCO image id of every position. Reads the whole split once if no sidecar has them."""
        if self._image_ids is None:
            self._image_ids = tuple(int(record["image/id"]) for record in self._stored)
        return self._image_ids

    def ground_truth(self) -> dict:
        """Annotations in COCO format (images, annotations, categories) for evaluation.

        Areas, boxes and ids are the original numbers if the split has its annotations (it was
        prepared here, or `open_source` was given them). Otherwise they come from the TFDS features,
        which hold areas as integers and boxes as normalised float32.
        """
        if self._annotations is None:
            return self._ground_truth_from_features()
        ground_truth = read_ground_truth(self._annotations)
        here = set(self.image_ids)
        if lacking := here - {image["id"] for image in ground_truth["images"]}:
            raise InputError(
                f"{self._annotations} lacks {len(lacking)} images of the split {self.split} "
                f"(the first: id {min(lacking)}); give the annotations that belong to this split"
            )
        return {
            "images": [image for image in ground_truth["images"] if image["id"] in here],
            "annotations": [
                {key: value for key, value in annotation.items() if key != "segmentation"}
                for annotation in ground_truth["annotations"]
                if annotation["image_id"] in here
            ],
            "categories": ground_truth["categories"],
        }

    def _from_features(self, record: dict, index: int) -> Example:
        """One image with the boxes that TFDS stores: normalised, in the order y x y x."""
        objects = record["objects"]
        try:
            height, width = read_header(record["image"])[:2]
        except ValueError as error:
            raise InputError(
                f"image {record['image/filename'].decode(errors='backslashreplace')}: {error}"
            ) from error
        boxes_yxyx = np.asarray(objects["bbox"], np.float32).reshape(-1, 4)
        boxes_yxyx = boxes_yxyx.astype(np.float64) * [height, width, height, width]
        return Example(
            jpeg=record["image"],
            boxes_xyxy=boxes_yxyx[:, [1, 0, 3, 2]].astype(np.float32),
            labels=np.asarray(objects["label"], np.int32).reshape(-1),
            is_crowd=np.asarray(objects["is_crowd"], bool).reshape(-1),
            index=index,
        )

    def _ground_truth_from_features(self) -> dict:
        """COCO format from the features alone."""
        images, annotations = [], []
        for index in range(len(self)):
            record = self._stored[index]
            example = self._from_features(record, index)
            image_id = int(record["image/id"])
            height, width = read_header(example.jpeg)[:2]
            file_name = record["image/filename"].decode(errors="backslashreplace")
            images.append(
                {"id": image_id, "file_name": file_name, "height": height, "width": width}
            )
            for row, (left, top, right, bottom) in enumerate(example.boxes_xyxy.tolist()):
                annotations.append(
                    {
                        "id": int(record["objects"]["id"][row]),
                        "image_id": image_id,
                        "category_id": self.category_ids[example.labels[row]],
                        "bbox": [left, top, right - left, bottom - top],
                        "area": int(record["objects"]["area"][row]),
                        "iscrowd": int(example.is_crowd[row]),
                    }
                )
        categories = [
            {"id": i, "name": name}
            for i, name in zip(self.category_ids, self.class_names, strict=True)
        ]
        return {"images": images, "annotations": annotations, "categories": categories}


def open_source(directory: Path, split: str, annotations: Path | None = None) -> Source:
    """Opens one split of a TFDS directory with the features of coco/2017.

    Args:
        directory: the directory of dataset_info.json, or one above it (``.../coco/2017``).
        split: name of the split.
        annotations: the original annotations in COCO format, if they do not lie in the directory:
            evaluation then uses their exact areas, and classes get their category ids.

    Raises:
        InputError: if it is no such directory, holds TFRecord files, or has no such split.
    """
    stored = read(local_path(directory), split)
    annotations, targets = _find_sidecars(stored, split, annotations)
    category_ids = _category_ids(stored.class_names, annotations, targets)
    if len(category_ids) != len(stored.class_names):
        raise InputError(
            f"{stored.directory} has {len(stored.class_names)} class names and {len(category_ids)} "
            "category ids; delete it and prepare it again"
        )
    return Source(
        stored,
        split,
        category_ids=category_ids,
        annotations=annotations,
        targets=targets,
    )


def _find_sidecars(
    stored: Stored, split: str, annotations: Path | None
) -> tuple[pathlib.Path | None, Targets | None]:
    """The annotations (given, or lying in the directory) and the exact targets, if there are."""
    beside = ground_truth_path(stored.directory, split)
    if annotations is None and beside.exists():
        annotations = beside
    path, targets = targets_path(stored.directory, split), None
    if path.exists():
        targets = read_targets(path, images=len(stored.rows), classes=len(stored.class_names))
    return (None if annotations is None else local_path(annotations)), targets


def _category_ids(class_names, annotations, targets) -> tuple[int, ...]:
    """Category id of each class: from the sidecar, the annotations, COCO, or else 1 .. K."""
    if targets is not None:
        return tuple(targets.category_ids.tolist())
    if annotations is not None:
        ids = {c["name"]: c["id"] for c in read_ground_truth(annotations)["categories"]}
        if set(ids) != set(class_names):
            raise InputError(
                f"{annotations} names other categories than the data set: "
                f"{sorted(set(ids) ^ set(class_names))[:5]} are only in one of them"
            )
        return tuple(ids[name] for name in class_names)
    return classes.category_ids(class_names)
