"""The exact boxes and the annotations of a prepared split: two files beside its TFDS records.

`preparation.records` writes them and says why they are there; `data.sources` reads them.
"""

import json
import math
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from yolor_jax.errors import InputError


class Targets(NamedTuple):
    """The exact boxes of ``N`` images; those of image i are rows start[i]:start[i + 1].

    ``size_hw`` is height and width of the images in pixels; None in files of older versions.
    ``identity`` is the number of each object's identity, 0 .. I - 1, and -1 of one that has none;
    None where no object of the split has one.
    """

    category_ids: Int64[np.ndarray, " K"]
    image_ids: Int64[np.ndarray, " N"]
    start: Int64[np.ndarray, " N+1"]
    boxes_xyxy: Float32[np.ndarray, "M 4"]
    labels: Int32[np.ndarray, " M"]
    is_crowd: Bool[np.ndarray, " M"]
    size_hw: Int32[np.ndarray, "N 2"] | None = None
    identity: Int32[np.ndarray, " M"] | None = None

    @property
    def identities(self) -> int:
        """I."""
        return 0 if self.identity is None else int(self.identity.max(initial=-1)) + 1


def ground_truth_path(directory: pathlib.Path, split: str) -> pathlib.Path:
    """Where the COCO-format annotations of a split lie."""
    return directory / f"ground_truth_{split}.json"


def targets_path(directory: pathlib.Path, split: str) -> pathlib.Path:
    """Where the `Targets` of a split lie."""
    return directory / f"targets_{split}.npz"


def read_ground_truth(path: pathlib.Path) -> dict:
    """Reads annotations in COCO format: images, annotations and categories.

    Raises:
        InputError: a field that evaluation needs is missing, or of another type.
    """
    try:
        coco = json.loads(path.read_bytes())
        ids = [image["id"] for image in coco["images"]]
        for annotation in coco["annotations"]:
            numbers = [*annotation["bbox"], annotation["area"]]
            ids += [annotation["image_id"], annotation["category_id"]]
            if len(numbers) != 5 or not all(map(math.isfinite, numbers)):
                raise InputError(f"annotation {annotation.get('id')} is broken")
        ids += [category["id"] for category in coco["categories"] if category["name"]]
        if not all(isinstance(number, int) for number in ids):
            raise InputError("an id is no integer")
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise InputError(
            f"{path} is damaged ({error}); prepare the data set again, or give other annotations"
        ) from error
    return coco


def read_targets(path: pathlib.Path, *, images: int, classes: int) -> Targets:
    """Reads the targets of a split.

    Args:
        path: what `targets_path` named.
        images: in the split.
        classes: K.

    Raises:
        InputError: the file is damaged, or does not belong to these images and classes.
    """
    try:
        with np.load(path) as arrays:
            targets = Targets(**arrays)
        sound = _belongs(targets, images, classes)
    except OSError:
        raise
    except Exception as error:  # NumPy and zipfile raise nearly everything on damaged files
        raise InputError(f"{path} is damaged ({error}); prepare the data set again") from error
    if not sound:
        raise InputError(
            f"{path} does not belong to the {images} images and {classes} classes of the records "
            "beside it; delete the directory and prepare it again"
        )
    return targets


def _belongs(targets: Targets, images: int, classes: int) -> bool:
    """Whether all shapes, types and ranges are those of a split."""
    boxes = targets.boxes_xyxy
    shapes = (classes,), (images,), (images + 1,), (len(boxes), 4), (len(boxes),), (len(boxes),)
    types = np.int64, np.int64, np.int64, np.float32, np.int32, np.bool_
    if [array.shape for array in targets[:6]] != list(shapes):
        return False
    return (
        [array.dtype for array in targets[:6]] == list(types)
        and (targets.start[0], targets.start[-1]) == (0, len(boxes))
        and bool(np.all(np.diff(targets.start) >= 0))
        and bool(np.all(np.isfinite(boxes)))
        and bool(np.all((0 <= targets.labels) & (targets.labels < classes)))
        and (targets.size_hw is None or targets.size_hw.shape == (images, 2))
        and _are_identities(targets.identity, len(boxes))
    )


def _are_identities(identity: np.ndarray | None, count: int) -> bool:
    """Whether they are none, or one for each box: -1 or more."""
    if identity is None:
        return True
    return (
        identity.shape == (count,) and identity.dtype == np.int32 and bool((identity >= -1).all())
    )
