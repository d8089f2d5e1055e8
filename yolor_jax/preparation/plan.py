"""Decides for every image of a split whether and how it is stored, and counts what it finds.

EXIF: people see an image upright, and draw boxes on what they see. Its pixels are turned (and
encoded anew, without loss), unless the JSON gives the stored size and that is another one: then the
boxes refer to the pixels as they are stored. With neither size the image is broken. Bytes of all
other images are stored as they are.

    planned = plan_images(coco, images, found, original.files, labels, report, original.where)
    write_planned(path, class_names, planned[:1000], original.read)
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from yolor_jax.data.encoded import apply_orientation
from yolor_jax.preparation import annotations
from yolor_jax.preparation.coco_files import File
from yolor_jax.preparation.report import Report
from yolor_jax.preparation.shards import Record, write_shard


class Planned(NamedTuple):
    """An image that will be stored, without its bytes, and whether EXIF asks for a turn of it."""

    record: Record
    turn: bool


def plan_images(
    coco: dict,
    images: list[dict],
    verified: dict[str, dict],
    files: dict[str, File],
    labels: dict[int, int],
    report: Report,
    where: str,
) -> list[Planned]:
    """Decides on the images of a split.

    Args:
        coco: the annotations.
        images: their sound entries.
        verified: what `check_images` found, by file name.
        files: all that is there.
        labels: class of each category id.
        report: counts all that is found.
        where: the annotations are, for messages.

    Raises:
        InputError: no box is in pixels.
    """
    grouped, broken = annotations.by_image(coco, images, labels, report)
    boxes_xywh = (entry["bbox"] for entries in grouped.values() for entry in entries)
    annotations.require_pixels(boxes_xywh, where)
    planned = []
    for image in images:
        found = verified.get(image["file_name"])
        pixels = _settle_pixels(image, found, report)
        entries = grouped.get(image["id"], [])
        lost = broken[image["id"]]
        if pixels is not None and lost > len(entries):
            report.add("image that lost most boxes", f"{image['file_name']} ({lost} broken)")
            pixels = None
        if pixels is None:
            for entry in entries:
                report.add("annotation of a left-out image", f"id {entry['id']}")
            continue
        for _ in range(lost):
            report.add("object now background", image["file_name"])
        turn, height, width = pixels
        boxes, rows = annotations.clip_boxes(entries, height, width, report)
        if not entries:
            report.add("image without boxes", image["file_name"])
        entry = {"id": image["id"], "file_name": image["file_name"], "height": height}
        record = Record(
            jpeg=b"",
            image={**entry, "width": width},
            annotations=entries,
            boxes_xyxy=boxes,
            labels=np.array([labels[entries[row]["category_id"]] for row in rows], np.int32),
            annotation_rows=rows,
        )
        planned.append(Planned(record, turn))
    for name in sorted(set(files) - {image["file_name"] for image in images}):
        report.add("file not in the JSON", name)
    records = [plan.record for plan in planned]
    report.images = len(records)
    report.annotations = sum(len(record.annotations) for record in records)
    report.targets = sum(len(record.labels) for record in records)
    crowd = [r.annotations[row]["iscrowd"] for r in records for row in r.annotation_rows]
    if all(crowd):
        report.add("no target", where)
    return planned


def _settle_pixels(image: dict, found: dict | None, report: Report) -> tuple[bool, int, int] | None:
    """Whether to turn an image as EXIF asks for, its height and width then; None if broken."""
    name = image["file_name"]
    if found is None:
        report.add("missing image", name)
        return None
    if "problem" in found:
        report.add("unreadable image", f"{name} ({found['problem']})")
        return None
    if found["frames"] > 1:
        report.add("animation", f"{name} ({found['frames']} frames)")
    orientation = found["orientation"]
    stored = (found["height"], found["width"])
    upright = stored[::-1] if orientation >= 5 else stored
    stated = (image.get("height"), image.get("width"))
    if None in stated:
        report.add("image without size", name)
        stated = upright
    if stated == upright:
        if orientation != 1:
            report.add("EXIF applied", f"{name} (orientation {orientation})")
        return orientation != 1, *upright
    if stated == stored:
        report.add("EXIF not applied", f"{name} (orientation {orientation})")
        return False, *stored
    report.add("size differs", f"{name} (JSON {stated}, image {upright})")
    return None


def write_planned(
    path: pathlib.Path,
    class_names: Sequence[str],
    planned: Sequence[Planned],
    read: Callable[[str], bytes],
) -> int:
    """Reads images and writes the shard of them.

    Args:
        path: of the shard.
        class_names: of all K classes.
        planned: the images that go into it.
        read: gives the bytes of an image by its name.

    Returns:
        Number of images.

    Raises:
        InputError: an image is damaged in its archive.
        OSError: an image cannot be read, or the shard not be written.
    """
    write_shard(path, class_names, (_with_bytes(plan, read) for plan in planned))
    return len(planned)


def _with_bytes(plan: Planned, read: Callable[[str], bytes]) -> Record:
    data = read(plan.record.image["file_name"])
    return plan.record._replace(jpeg=apply_orientation(data) if plan.turn else data)
