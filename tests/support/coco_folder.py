"""Small COCO-format folders for tests, whole ones and broken ones."""

import json
import pathlib
import struct

import cv2
import numpy as np

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 90, "name": "toothbrush"}]


def jpeg(height, width, seed=0):
    """A JPEG of soft noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.imencode(".jpg", image)[1].tobytes()


def with_orientation(data, orientation):
    """The same JPEG with an EXIF orientation, as a camera writes it (big endian)."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def image_entry(number, height=48, width=64):
    return {"id": number, "file_name": f"{number:03d}.jpg", "height": height, "width": width}


def box_entry(number, image, category=3, bbox=(8.25, 6.5, 20.125, 16.75), **more):
    entry = {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox)}
    return {**entry, "area": 123.456, "iscrowd": 0, **more}


def write(folder, *, images=4, split="val", edit=None):
    """Writes a folder with one box per image; `edit(coco, image_dir)` may then break something."""
    folder = pathlib.Path(folder)
    image_dir = folder / split
    image_dir.mkdir(parents=True)
    (folder / "annotations").mkdir()
    coco = {
        "images": [image_entry(i + 1) for i in range(images)],
        "annotations": [box_entry(i + 1, i + 1) for i in range(images)],
        "categories": CATEGORIES,
    }
    for i in range(images):
        (image_dir / f"{i + 1:03d}.jpg").write_bytes(jpeg(48, 64, seed=i))
    if edit is not None:
        edit(coco, image_dir)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
    return folder
