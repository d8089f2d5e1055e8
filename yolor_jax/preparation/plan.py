"""Decides for every image of a split whether and how it is stored, and counts what it finds.

EXIF: boxes refer to the pixels whose height and width stand in the JSON. If only the turned size
fits, the image is turned (and encoded anew, quality 95); if the stored size fits, the orientation
is ignored; with neither the image is broken. Bytes of all other images are stored as they are.

    planned = plan_images(coco, images, found, original.files, labels, report)
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
) -> list[Planned]:
    """Decides on the images of a split.

    Args:
        coco: the annotations.
        images: their sound entries.
        verified: what `check_images` found, by file name.
        files: all that is there.
        labels: class of each category id.
        report: counts all that is found.
    """
    grouped = annotations.by_image(coco, images, labels, report)
    planned = []
    for image in images:
        found = verified.get(image["file_name"])
        turn = _settle_orientation(image, found, report)
        entries = grouped.get(image["id"], [])
        if turn is None:
            for entry in entries:
                report.add("annotation of a left-out image", f"id {entry['id']}")
            continue
        height, width = found["height"], found["width"]
        if turn:
            height, width = width, height
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
    return planned


def _settle_orientation(image: dict, found: dict | None, report: Report) -> bool | None:
    """Whether to turn an image as EXIF asks for; None if it is broken."""
    name = image["file_name"]
    if found is None:
        report.add("missing image", name)
        return None
    if "problem" in found:
        report.add("unreadable image", f"{name} ({found['problem']})")
        return None
    stored = (found["height"], found["width"])
    stated = (image.get("height"), image.get("width"))
    if None in stated:
        report.add("image without size", name)
        stated = stored
    if stated == stored:
        if found["orientation"] != 1:
            report.add("EXIF not applied", f"{name} (orientation {found['orientation']})")
        return False
    if stated == stored[::-1] and found["orientation"] >= 5:
        report.add("EXIF applied", f"{name} (orientation {found['orientation']})")
        return True
    report.add("size differs", f"{name} (JSON {stated}, image {stored})")
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
