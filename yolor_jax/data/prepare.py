"""COCO-format folder -> TFDS directory: verified once, resumable, nothing lost in silence.

The folder holds ``annotations/instances_{split}.json`` and the images in ``{split}/`` (or
``images/{split}/``). Every image is read and decoded, every annotation checked (`annotations.py`,
`report.py`); what is broken stops preparation with a list, or is left out and counted with
`skip_broken`. The prepared directory carries a fingerprint of the annotations (their content) and
the images (names and sizes) in its name, so a changed data set is prepared anew. After a kill, what
was verified is not verified again, and the records are written anew under a temporary name.

EXIF: boxes refer to the pixels whose height and width stand in the JSON. If only the turned size
fits, the image is turned (and encoded anew, quality 95); if the stored size fits, the orientation
is ignored; with neither the image is broken. Bytes of all other images are stored as they are.

    report = prepare("coco", "val2017", "prepared")
    print(report.table(), report.directory)
"""

import glob
import hashlib
import itertools
import json
import logging
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from yolor_jax.data import annotations, records
from yolor_jax.data.encoded import apply_orientation, read_header
from yolor_jax.data.report import Report

VERSION = 1
"""To be raised whenever prepared directories change."""

_VERIFIED_PER_FLUSH = 128
_logger = logging.getLogger(__name__)


class _File(NamedTuple):
    """Size in bytes and time of change of an image file."""

    size: int
    mtime_ns: int


class _Planned(NamedTuple):
    """An image that will be stored, with everything but its bytes."""

    image: dict
    turn: bool
    annotations: list[dict]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    rows: list[int]


def prepare(
    folder: str | pathlib.Path,
    split: str,
    prepared_dir: str | pathlib.Path,
    *,
    skip_broken: bool = False,
    progress: bool = True,
) -> Report:
    """Prepares one split of a COCO-format folder, unless it is there already and unchanged.

    Args:
        folder: The data set.
        split: Name of the split, as in ``instances_{split}.json``.
        prepared_dir: Where prepared data sets lie.
        skip_broken: Leave broken images and annotations out instead of stopping.
        progress: Whether to show progress bars and, at the end, the table of findings.

    Returns:
        What was found; `Report.directory` is the TFDS directory.

    Raises:
        ValueError: If the folder has no such split, or something is broken and `skip_broken` is
            not set; the message counts and names it and says what to do.
    """
    folder = pathlib.Path(folder).expanduser().resolve()
    json_path, image_dir = _find_split(folder, split)
    files = _list_files(image_dir)
    prepared_dir = pathlib.Path(prepared_dir).expanduser()
    prepared_dir.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(bytes(folder)).hexdigest()[:4]  # folders of one name stay apart
    stem = f"{folder.name}-{place}-{split}"
    directory = prepared_dir / f"{stem}-{_fingerprint(json_path, files)}"
    with records.lock(prepared_dir / stem):
        if directory.exists():
            report = Report.load(directory)
            _stop_if_broken(report, json_path, skip_broken)
            return report
        for half in prepared_dir.glob(f".{glob.escape(stem)}-*.partial"):
            shutil.rmtree(half)
        for old in sorted(prepared_dir.glob(f"{glob.escape(stem)}-" + "[0-9a-f]" * 12)):
            _logger.warning("%s changed since %s was made, which may be deleted", folder, old)
        coco = annotations.read(json_path)
        report = Report()
        log = prepared_dir / f".{stem}.verified.jsonl"
        categories = annotations.categories(coco, json_path)
        images = annotations.unique_images(coco, report)
        verified = _verify(image_dir, files, images, log, progress)
        labels = {category["id"]: label for label, category in enumerate(categories)}
        planned = _plan(coco, images, verified, files, labels, report)
        _stop_if_broken(report, json_path, skip_broken)
        if not planned:
            raise ValueError(f"{json_path} leaves no image for the split {split!r}")
        records.write(
            directory,
            name=re.sub(r"\W", "_", folder.name.lower()),
            categories=categories,
            splits={split: _read(planned, image_dir, labels, split, progress)},
            extra_files={"report.json": report.to_json()},
        )
    report.directory = directory
    if progress:
        tqdm.write(f"prepared {directory}\n{report.table()}", file=sys.stderr)
    return report


def _find_split(folder: pathlib.Path, split: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The annotations and the image folder of a split."""
    if not re.fullmatch(r"\w+", split):
        raise ValueError(f"got the split {split!r}; expected letters, digits and underscores")
    json_path = folder / "annotations" / f"instances_{split}.json"
    if not json_path.is_file():
        there = sorted(p.name[10:-5] for p in folder.glob("annotations/instances_*.json"))
        raise ValueError(f"{json_path} is missing; the splits that have annotations: {there}")
    for image_dir in (folder / split, folder / "images" / split):
        if image_dir.is_dir():
            return json_path, image_dir
    raise ValueError(
        f"the images of the split {split!r} are missing; expected them in {folder / split} or in "
        f"{folder / 'images' / split}"
    )


def _list_files(image_dir: pathlib.Path) -> dict[str, _File]:
    """All files below a folder but hidden ones, by their name relative to it."""
    files = {}
    for parent, _, names in os.walk(image_dir):
        for name in names:
            if name.startswith("."):
                continue
            path = os.path.join(parent, name)
            stat = os.stat(path)
            relative = os.path.relpath(path, image_dir).replace(os.sep, "/")
            files[relative] = _File(stat.st_size, stat.st_mtime_ns)
    return files


def _fingerprint(json_path: pathlib.Path, files: dict[str, _File]) -> str:
    """Twelve digits that change with the annotations, and with names or sizes of the images."""
    with open(json_path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    listing = sorted((name, file.size) for name, file in files.items())
    digest.update(json.dumps([VERSION, listing]).encode())
    return digest.hexdigest()[:12]


def _stop_if_broken(report: Report, json_path: pathlib.Path, skip_broken: bool) -> None:
    if report.broken and not skip_broken:
        raise ValueError(
            f"{json_path}: {report.broken} entries are broken\n{report.table()}\n"
            "Repair the data set, or leave the broken entries out with skip_broken=True"
        )


def _verify(image_dir, files, images, log: pathlib.Path, progress: bool) -> dict[str, dict]:
    """Reads and decodes every image; results are kept in `log`, so that none is read twice.

    Returns:
        By file name: height, width, orientation, or problem; no entry for a missing file.
    """
    names = sorted({image["file_name"] for image in images} & set(files))
    verified = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # half a line: the process was killed while it wrote
            continue
        if files.get(result["name"]) == (result["size"], result["mtime_ns"]):
            verified[result["name"]] = result
    remaining = iter([name for name in names if name not in verified])
    bar = tqdm(
        desc=f"verifying {image_dir.name}", unit="image", total=len(names),
        initial=sum(name in verified for name in names), disable=not progress,
    )  # fmt: skip
    cv2.setNumThreads(0)
    with bar, open(log, "a") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        file.write("\n")
        while chunk := list(itertools.islice(remaining, _VERIFIED_PER_FLUSH)):
            results = pool.map(_check, [image_dir / name for name in chunk])
            for name, result in zip(chunk, results, strict=True):
                verified[name] = result
                line = {"name": name, **files[name]._asdict(), **result}
                file.write(json.dumps(line) + "\n")
            file.flush()
            bar.update(len(chunk))
    return verified


def _check(path: pathlib.Path) -> dict:
    """Reads the header of an image and decodes it (small and grey: that reads all of its data)."""
    data = path.read_bytes()
    try:
        header = read_header(data)
    except ValueError as error:
        return {"problem": str(error)}
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
    if cv2.imdecode(np.frombuffer(data, np.uint8), flags) is None:
        return {"problem": "no image that OpenCV can decode"}
    return header._asdict()


def _plan(coco, images, verified, files, labels, report: Report) -> list[_Planned]:
    """Decides for every image whether and how it is stored, and counts what is found."""
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
        planned.append(_Planned({**entry, "width": width}, turn, entries, boxes, rows))
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


def _read(planned, image_dir, labels, split, progress: bool) -> Iterator[records.Record]:
    """Reads the images one by one, in the order of the JSON."""
    for plan in tqdm(planned, desc=f"writing {split}", unit="image", disable=not progress):
        data = (image_dir / plan.image["file_name"]).read_bytes()
        categories = [plan.annotations[row]["category_id"] for row in plan.rows]
        yield records.Record(
            jpeg=apply_orientation(data) if plan.turn else data,
            image=plan.image,
            annotations=plan.annotations,
            boxes_xyxy=plan.boxes_xyxy,
            labels=np.array([labels[c] for c in categories], np.int32),
            annotation_rows=plan.rows,
        )
