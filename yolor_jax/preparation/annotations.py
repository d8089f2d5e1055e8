"""COCO-format annotations: read, checked entry by entry, and turned into targets.

No value is coerced (`annotation_faults`). Category ids may be any integers; classes 0 .. K - 1
follow their order (COCO: 1 .. 90 -> 0 .. 79). Annotations keep their original numbers for
evaluation; targets for training are clipped to the image, and boxes that have no area then are no
targets. What is found goes into a `Report`.

    coco = parse(path.read_bytes(), str(path))
    labels = {category["id"]: label for label, category in enumerate(categories(coco, str(path)))}
    grouped = by_image(coco, images, labels, report)
    boxes_xyxy, kept = clip_boxes(grouped[image_id], height, width, report)
"""

import collections
import itertools
import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from yolor_jax.errors import InputError
from yolor_jax.preparation.annotation_faults import (
    annotation_fault,
    file_name_fault,
    is_integer,
    name_fault,
    number_fault,
)
from yolor_jax.preparation.identities import Identities
from yolor_jax.preparation.report import BROKEN, Report

MIN_SIDE = 0.01
"""Pixels; COCO's coordinates are rounded to this."""


class Grouped(NamedTuple):
    """The annotations of a file by the image they belong to.

    Attributes:
        sound: entries with id, image_id, category_id, bbox, area, iscrowd and, where they have one,
            identity, by image id.
        broken: number of broken ones of each image that has some.
    """

    sound: dict[int, list[dict]]
    broken: collections.Counter[int]


def parse(data: bytes, where: str) -> dict:
    """Parses a file of annotations.

    Args:
        data: its content.
        where: it is, for messages.

    Raises:
        InputError: if it is no JSON, has a key twice, or lacks one of the three lists.
    """
    try:
        coco = json.loads(data, object_pairs_hook=_object)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:  # no JSON or no UTF-8; a number of 5,000 digits
        raise InputError(f"{where} is no complete JSON: {error}") from error
    keys = ("images", "annotations", "categories")
    lacking = [k for k in keys if not isinstance(coco, dict) or not isinstance(coco.get(k), list)]
    if lacking:
        raise InputError(
            f"{where} lacks the lists {lacking}; expected COCO's instances format with {list(keys)}"
        )
    return coco


def categories(coco: dict, where: str) -> list[dict]:
    """Id and name of each category, in the order of the ids: the order of the classes.

    Raises:
        InputError: if there is none, ids or names are not unique, an id is no integer of 64 bits,
            or a name is empty or holds characters that a line of text cannot keep.
    """
    entries = []
    for position, category in enumerate(coco["categories"]):
        category = category if isinstance(category, dict) else {}
        number, name = category.get("id"), category.get("name")
        if fault := number_fault(number) or name_fault(name):
            raise InputError(f"{where}: categories[{position}] has {fault}")
        entries.append({"id": number, "name": name})
    for key in ("id", "name"):
        values = [entry[key] for entry in entries]
        if not entries or len(set(values)) < len(values):
            raise InputError(
                f"{where}: expected at least one category and every {key} once; got {values[:10]}"
            )
    return sorted(entries, key=lambda entry: entry["id"])


def unique_images(coco: dict, report: Report) -> list[dict]:
    """The image entries with an id and a file name, each id and each file once."""
    images, ids, names = [], set(), set()
    for position, image in enumerate(coco["images"]):
        image = image if isinstance(image, dict) else {}
        image_id, name = image.get("id"), image.get("file_name")
        if fault := number_fault(image_id) or file_name_fault(name):
            report.add("broken image entry", f"images[{position}] has {fault}")
        elif image_id in ids:
            report.add("duplicate image id", f"{image_id} ({name})")
        elif name in names:
            report.add("duplicate file name", f"{name} (id {image_id})")
        else:
            ids.add(image_id)
            names.add(name)
            images.append(image)
    return images


def by_image(coco: dict, images: list[dict], labels: dict[int, int], report: Report) -> Grouped:
    """The annotations of each image, reduced to the fields of boxes, numbers as they were.

    Args:
        coco: what `parse` returned.
        images: the sound images.
        labels: class of each category id.
        report: counts what is broken or was filled in.
    """
    image_ids = {image["id"] for image in images}
    used = _ids(coco["annotations"])
    free = (number for number in itertools.count(1) if number not in used)
    seen: set[int] = set()
    grouped: dict[int, list[dict]] = {}
    broken: collections.Counter[int] = collections.Counter()
    identities = Identities()
    for position, annotation in enumerate(coco["annotations"]):
        where = f"annotations[{position}]"
        if finding := annotation_fault(annotation, image_ids, labels):
            kind, fault = finding
            report.add(kind, _told(annotation) or f"{where} has {fault}")
            if isinstance(annotation, dict) and is_integer(annotation.get("image_id")):
                broken[annotation["image_id"]] += 1
            continue
        number, area = annotation.get("id"), annotation.get("area")
        if number is None:
            report.add("annotation without id", where)
            number = next(free)
        elif number in seen:
            report.add("annotation id used twice", f"{where} (id {number})")
            number = next(free)
        if area is None:
            report.add("annotation without area", where)
            area = annotation["bbox"][2] * annotation["bbox"][3]
        seen.add(number)
        entry = {
            "id": number,
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "bbox": annotation["bbox"],
            "area": area,
            "iscrowd": int(annotation.get("iscrowd", 0)),
        }
        if annotation.get("identity") is not None:
            if fault := identities.fault(entry, annotation["identity"]):
                report.add("broken identity", fault)
                broken[annotation["image_id"]] += 1
                continue
            entry["identity"] = annotation["identity"]
        if entry["iscrowd"]:
            report.add("crowd region", f"id {number}")
        grouped.setdefault(annotation["image_id"], []).append(entry)
    return Grouped(grouped, broken)


def sound(data: bytes, where: str) -> dict:
    """A file of annotations to compare with, every entry of which is sound.

    Args:
        data: its content.
        where: it is, for messages.

    Returns:
        images, annotations (without outlines) and categories.

    Raises:
        InputError: an entry is broken; counts those and names the first.
    """
    coco, report = parse(data, where), Report()
    known = categories(coco, where)
    labels = {category["id"]: label for label, category in enumerate(known)}
    images = unique_images(coco, report)
    grouped, _ = by_image(coco, images, labels, report)
    if report.broken:
        kind = next(kind for kind in report.counts if kind in BROKEN)
        raise InputError(
            f"{where}: {report.broken} entries are broken, the first: {kind} "
            f"({report.examples[kind][0]}); mend the file"
        )
    entries = [entry for image in images for entry in grouped.get(image["id"], [])]
    return {"images": images, "annotations": entries, "categories": known}


def require_pixels(boxes_xywh: Iterable[list[float]], where: str) -> None:
    """Raises an InputError if boxes are parts of the image (0 .. 1) instead of pixels."""
    count, inside = 0, 0
    for left, top, width, height in boxes_xywh:
        count += 1
        inside += min(left, top, width, height) >= 0 and max(left + width, top + height) <= 1
    if count and inside == count:
        raise InputError(
            f"{where}: all {count} boxes lie within the first pixel, as if they were parts of the "
            "image (0 to 1); expected left, top, width and height in pixels"
        )


def clip_boxes(
    annotations: list[dict], height: int, width: int, report: Report
) -> tuple[Float[np.ndarray, "n 4"], list[int]]:
    """Boxes for training, in pixels and inside the image.

    Args:
        annotations: the sound annotations of one image.
        height: of the image, in pixels.
        width: of the image, in pixels.
        report: counts what is clipped or left out.

    Returns:
        Left, top, right, bottom (float64), and the position of each box in `annotations`.
    """
    boxes, rows = [], []
    for row, annotation in enumerate(annotations):
        left, top, box_width, box_height = annotation["bbox"]
        box = [left, top, left + box_width, top + box_height]
        clipped = [
            min(max(v, 0.0), limit) for v, limit in zip(box, [width, height] * 2, strict=True)
        ]
        where = f"id {annotation['id']}"
        if min(box_width, box_height) < MIN_SIDE:
            report.add("box without area", where)
        elif min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < MIN_SIDE:
            report.add("box outside", where)
        else:
            if max(abs(a - b) for a, b in zip(clipped, box, strict=True)) > 1e-6:
                report.add("box clipped", where)
            boxes.append(clipped)
            rows.append(row)
    return np.array(boxes, np.float64).reshape(-1, 4), rows


def _object(pairs: list[tuple[str, object]]) -> dict:
    """An object of the JSON, in which each key stands once."""
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"the key {twice!r} stands twice in one object; expected it once")
    return entries


def _ids(entries: list) -> set[int]:
    """The ids that are integers."""
    return {e["id"] for e in entries if isinstance(e, dict) and is_integer(e.get("id"))}


def _told(annotation) -> str | None:
    """What the reader of another format says of an entry that is broken there (`as_coco`)."""
    fault = annotation.get("fault") if isinstance(annotation, dict) else None
    return fault if isinstance(fault, str) else None
