"""COCO's JSON of what another format holds: how images, classes and broken objects are written.

Images whose names are all numbers keep them as their ids, as in COCO and VOC 2007; others are
numbered. An object that cannot be read stays an entry, so that it is counted and its image does
not become background: the field that is broken is null or missing, and ``fault`` says in which file
and line it stands, and what is wrong.

    cat = {"category_id": 1, "bbox": [1, 2, 3, 4]}
    encode(["000000000009.jpg"], sizes=[(480, 640)], objects=[[cat]], class_names=["cat"])
"""

import json
import pathlib
import re
from collections.abc import Sequence

from yolor_jax.data import classes
from yolor_jax.data.encoded import SUFFIXES

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
"""A number in a text file."""


def is_image(name: str) -> bool:
    """Whether a file is an image by its name, where no list names it."""
    return name.lower().endswith(SUFFIXES)


def encode(
    file_names: Sequence[str],
    sizes: Sequence[tuple[int | str, int | str] | None],
    objects: Sequence[Sequence[dict]],
    class_names: Sequence[str],
) -> bytes:
    """COCO's JSON of a split.

    Args:
        file_names: of its images.
        sizes: height and width of each, as they stand somewhere; None where they are taken from the
            image later.
        objects: of each image, entries with category_id, bbox (left, top, width, height in pixels)
            and what else COCO has; or with a ``fault``.
        class_names: of class 0 .. K - 1, whose category ids `category_ids` gives.
    """
    images, annotations = [], []
    for number, name, size, entries in zip(
        _numbers(file_names), file_names, sizes, objects, strict=True
    ):
        stated = {} if size is None else {"height": size[0], "width": size[1]}
        images.append({"id": number, "file_name": name, **stated})
        annotations += [{"image_id": number, **entry} for entry in entries]
    categories = [
        {"id": number, "name": name}
        for number, name in zip(category_ids(class_names), class_names, strict=True)
    ]
    annotations = [{"id": i + 1, "iscrowd": 0, **entry} for i, entry in enumerate(annotations)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(coco).encode()


def category_ids(class_names: Sequence[str]) -> tuple[int, ...]:
    """Category id of each class: COCO's own where the classes are, or else 1 .. K."""
    return classes.category_ids(tuple(class_names))


def _numbers(file_names: Sequence[str]) -> Sequence[int]:
    """An id for each image."""
    stems = [pathlib.PurePosixPath(name).stem for name in file_names]
    if all(re.fullmatch("[0-9]{1,18}", stem) for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return range(1, len(file_names) + 1)
