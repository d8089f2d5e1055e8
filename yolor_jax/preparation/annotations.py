"""COCO-format annotations: read, checked entry by entry, and turned into targets.

Category ids may be any integers; classes 0 .. K - 1 follow their order (COCO: 1 .. 90 -> 0 .. 79).
Annotations keep their original numbers for evaluation; targets for training are clipped to the
image, and boxes that have no area then are no targets. What is found goes into a `Report`.

    coco = parse(path.read_bytes(), str(path))
    labels = {category["id"]: label for label, category in enumerate(categories(coco, str(path)))}
    grouped = by_image(coco, images, labels, report)
    boxes_xyxy, kept = clip_boxes(grouped[image_id], height, width, report)
"""

import json
import math

import numpy as np
from jaxtyping import Float

from yolor_jax.errors import InputError
from yolor_jax.preparation.report import Report

MIN_SIDE = 0.01
"""Pixels; COCO's coordinates are rounded to this."""


def parse(data: bytes, where: str) -> dict:
    """Parses a file of annotations.

    Args:
        data: its content.
        where: it is, for messages.

    Raises:
        InputError: if it is no JSON or lacks one of the three lists.
    """
    try:
        coco = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
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
        InputError: if there is none, or ids or names are not unique.
    """
    try:
        entries = [{"id": int(c["id"]), "name": str(c["name"])} for c in coco["categories"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: every category needs an integer id and a name") from error
    for key in ("id", "name"):
        values = [entry[key] for entry in entries]
        if not entries or len(set(values)) < len(values):
            raise InputError(
                f"{where}: expected at least one category and every {key} once; got {values[:10]}"
            )
    return sorted(entries, key=lambda entry: entry["id"])


def unique_images(coco: dict, report: Report) -> list[dict]:
    """The image entries with an integer id and a file name, each id once."""
    images, seen = [], set()
    for position, image in enumerate(coco["images"]):
        image = image if isinstance(image, dict) else {}
        image_id, name = image.get("id"), image.get("file_name")
        if not _is_integer(image_id) or not isinstance(name, str):
            report.add("broken image entry", f"images[{position}]")
        elif image_id in seen:
            report.add("duplicate image id", f"{image_id} ({name})")
        else:
            seen.add(image_id)
            images.append(image)
    return images


def by_image(
    coco: dict, images: list[dict], labels: dict[int, int], report: Report
) -> dict[int, list[dict]]:
    """The sound annotations of each image, reduced to the fields of boxes, numbers as they were.

    Args:
        coco: what `read` returned.
        images: the sound images.
        labels: class of each category id.
        report: counts what is broken or was filled in.

    Returns:
        Entries with id, image_id, category_id, bbox, area, iscrowd, by image id.
    """
    image_ids = {image["id"] for image in images}
    next_id = max(_ids(coco["annotations"]), default=0) + 1
    seen: set[int] = set()
    grouped: dict[int, list[dict]] = {}
    for position, annotation in enumerate(coco["annotations"]):
        where = f"annotations[{position}]"
        kind = _fault(annotation, seen, image_ids, labels)
        if kind:
            report.add(kind, _told(annotation) or f"{where} {_excerpt(annotation, kind)}")
            continue
        number, area = annotation.get("id"), annotation.get("area")
        if number is None:
            report.add("annotation without id", where)
            number, next_id = next_id, next_id + 1
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
            "iscrowd": int(bool(annotation.get("iscrowd", 0))),
        }
        if entry["iscrowd"]:
            report.add("crowd region", f"id {number}")
        grouped.setdefault(annotation["image_id"], []).append(entry)
    return grouped


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


def _is_integer(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _ids(entries: list) -> set[int]:
    """The ids that are integers."""
    return {e["id"] for e in entries if isinstance(e, dict) and _is_integer(e.get("id"))}


def _is_finite(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _fault(annotation, seen: set, image_ids: set, labels: dict[int, int]) -> str | None:
    """What is broken in an annotation, if anything."""
    if not isinstance(annotation, dict) or not {"image_id", "category_id", "bbox"} <= set(
        annotation
    ):
        return "broken annotation"
    number = annotation.get("id")
    if number is not None and (not _is_integer(number) or number in seen):
        return "broken annotation"
    if not _is_integer(annotation["image_id"]) or annotation["image_id"] not in image_ids:
        return "unknown image id"
    if not _is_integer(annotation["category_id"]) or annotation["category_id"] not in labels:
        return "unknown category id"
    box, area = annotation["bbox"], annotation.get("area")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)):
        return "broken box"
    if min(box[2:]) < 0 or (area is not None and not (_is_finite(area) and area >= 0)):
        return "broken box"
    return None


def _told(annotation) -> str | None:
    """What the reader of another format says of an entry that is broken there (`as_coco`)."""
    fault = annotation.get("fault") if isinstance(annotation, dict) else None
    return fault if isinstance(fault, str) else None


def _excerpt(annotation, kind: str) -> str:
    """The fields of an annotation that matter for a finding."""
    if not isinstance(annotation, dict):
        return repr(annotation)
    field = {
        "unknown image id": "image_id",
        "unknown category id": "category_id",
        "broken box": "bbox",
    }.get(kind)
    if field == "bbox" and "area" in annotation:
        return f"(id {annotation.get('id')}, bbox {annotation['bbox']}, area {annotation['area']})"
    if field:
        return f"(id {annotation.get('id')}, {field} {annotation[field]})"
    return f"(id {annotation.get('id')}, fields {sorted(annotation)})"
