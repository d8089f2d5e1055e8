"""Images of an evaluation for a page: JPEG inside it, and boxes over it that can be hidden.

```python
shown = photos(source, left, [one.image_id for one in left.analysis.images[:12]])
shown[0].jpeg       # "data:image/jpeg;base64,..."
shown[0].boxes      # true ones, and those predicted at the operating point
```
"""

import base64
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from yolor_jax.data.encoded import decode
from yolor_jax.errors import InputError
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.matching import match
from yolor_jax.pictures.drawing import class_color
from yolor_jax.reports.gather import Left
from yolor_jax.runs.sources import Split

LARGEST = 480  # pixels of the longest side in the page
QUALITY = 82  # of a JPEG


class Box(NamedTuple):
    """A box over an image.

    Attributes:
        x: left, in pixels of the original image, as the others.
        y: top.
        width: of the box.
        height: of the box.
        kind: "true" or "predicted".
        right: whether it was found, or is of an object.
        text: class, and score of a predicted one.
        color: of the class, as CSS has it.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str
    right: bool
    text: str
    color: str


class Photo(NamedTuple):
    """An image with its boxes.

    Attributes:
        name: of its file.
        image_id: of the image.
        width: of the original in pixels.
        height: of the original in pixels.
        jpeg: as a URI that holds it.
        boxes: the true ones first.
    """

    name: str
    image_id: int
    width: int
    height: int
    jpeg: str
    boxes: Sequence[Box]


def photos(source: Split, left: Left, image_ids: Sequence[int]) -> list[Photo]:
    """Reads images and puts the boxes of an evaluation over them.

    Args:
        source: the split.
        left: the evaluation.
        image_ids: of the images, in the order in which they are shown.

    Raises:
        InputError: the split lacks an image, or an image cannot be read.
        OSError: a file cannot be read.
    """
    if not image_ids:
        return []
    position = {image_id: index for index, image_id in enumerate(source.image_ids)}
    boxes = _boxes(source, left, set(image_ids))
    shown = []
    for image_id in image_ids:
        index = position[image_id]
        image = decode(source[index].jpeg)
        height, width = image.shape[:2]
        name = pathlib.PurePath(source.name(index)).name
        shown.append(Photo(name, image_id, width, height, _jpeg(image), boxes[image_id]))
    return shown


def _boxes(source: Split, left: Left, image_ids: set[int]) -> dict[int, list[Box]]:
    """The boxes over each image: true ones, and those predicted at the operating point."""
    truth = source.ground_truth()
    kept = [image for image in truth["images"] if image["id"] in image_ids]
    if len(kept) < len(image_ids):
        missing = min(image_ids - {image["id"] for image in kept})
        raise InputError(
            f"the split {source.split} has no image {missing}, of which {left.folder} has numbers: "
            "the data set has changed since; evaluate again"
        )
    truth = truth | {"images": kept, "annotations": _of(image_ids, truth["annotations"])}
    sure = [box for box in left.results if box["score"] >= left.analysis.score]
    truth, sure = left.mode.scored(truth, _of(image_ids, sure))
    found = match(read_objects(truth), read_detections(truth, sure))
    names = [category["name"] for category in truth["categories"]]
    order = sorted(image["id"] for image in kept)  # in which `match` numbers them
    boxes: dict[int, list[Box]] = {image_id: [] for image_id in image_ids}
    for kind, columns, right, scores in (
        ("true", found.objects, found.found, None),
        ("predicted", found.detections, found.right, found.detections.score),
    ):
        for number, (image, label) in enumerate(zip(columns.image, columns.label, strict=True)):
            score = "" if scores is None else f" {scores[number]:.2f}"
            color = "#{:02x}{:02x}{:02x}".format(*class_color(int(label)))
            place = [round(side, 1) for side in columns.boxes_xywh[number].tolist()]
            box = Box(*place, kind, bool(right[number]), f"{names[label]}{score}", color)
            boxes[order[image]].append(box)
    return boxes


def _of(image_ids: set[int], rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of some images."""
    return [row for row in rows if row["image_id"] in image_ids]


def _jpeg(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """The image, made smaller if it is large, as a URI."""
    height, width = image.shape[:2]
    if (ratio := LARGEST / max(height, width)) < 1:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
