"""Decides for every image of a split whether and how it is stored, and counts what it finds.

EXIF: people see an image upright, and draw boxes on what they see. Its pixels are turned (and
encoded anew, without loss), unless the JSON gives the stored size and that is another one: then the
boxes refer to the pixels as they are stored. With neither size the image is broken. Bytes of all
other images are stored as they are.

    planned = plan_images(coco, images, found, original.files, labels, report, original.where)
    records = read_planned(planned, original, labels, progress=True)
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from yolor_jax.data.encoded import apply_orientation
from yolor_jax.preparation import annotations, records
from yolor_jax.preparation.coco_files import File, Original
from yolor_jax.preparation.report import Report
from yolor_jax.progress import progress as progress_bar


class Planned(NamedTuple):
    """An image that will be stored, with everything but its bytes."""

    image: dict
    turn: bool
    annotations: list[dict]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    rows: list[int]


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
        planned.append(Planned({**entry, "width": width}, turn, entries, boxes, rows))
    for name in sorted(set(files) - {image["file_name"] for image in images}):
        report.add("file not in the JSON", name)
    report.images = len(planned)
    report.annotations = sum(len(p.annotations) for p in planned)
    report.targets = sum(len(p.rows) for p in planned)
    if not any(not plan.annotations[row]["iscrowd"] for plan in planned for row in plan.rows):
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


def read_planned(
    planned: list[Planned], original: Original, labels: dict[int, int], *, progress: bool
) -> Iterator[records.Record]:
    """Reads the images one by one, in the order of the annotations.

    Args:
        planned: what to store.
        original: the split.
        labels: class of each category id.
        progress: whether to show a bar.
    """
    bar = progress_bar(
        planned, desc=f"writing {original.split}", unit="image", disable=not progress
    )
    for plan in bar:
        data = original.read(plan.image["file_name"])
        categories = [plan.annotations[row]["category_id"] for row in plan.rows]
        yield records.Record(
            jpeg=apply_orientation(data) if plan.turn else data,
            image=plan.image,
            annotations=plan.annotations,
            boxes_xyxy=plan.boxes_xyxy,
            labels=np.array([labels[c] for c in categories], np.int32),
            annotation_rows=plan.rows,
        )
