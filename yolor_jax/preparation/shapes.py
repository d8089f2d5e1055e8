"""The built-in data set: discs, squares, triangles, stars, rings and crosses on textured ground.

Every picture is a pure function of (seed, split, index, light). Up to six objects overlap, the
largest drawn at least four times as wide as the smallest; one picture in ten is empty, and one in
ten has a crowd region: a swarm of small objects of one class with one box (iscrowd). As in COCO, a
box is the extent of the *visible* pixels of an object, and its area their number (fractional:
pixels at an edge count in part). An object of which later ones leave too little to be seen is not
drawn at all.

``shapes_night`` is the same scenes in a dim blue light: another domain with the same classes, to
adapt a network to (docs/implicit_tuning.md).

    picture = draw(seed=0, split="train", index=3)
    directory = prepare("prepared", name="shapes_night", sizes={"train": 24, "validation": 8})
"""

import functools
import math
import pathlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from jaxtyping import Float32

from yolor_jax.paths import local_path
from yolor_jax.preparation import painting, records
from yolor_jax.preparation.shards import Record
from yolor_jax.progress import progress as progress_bar

SIZES = {"train": 4000, "validation": 300}
VERSION = 1
"""To be raised whenever a picture changes: prepared directories carry it in their name."""

LIGHTS = {"shapes": (1.0, 1.0, 1.0), "shapes_night": (0.25, 0.35, 0.8)}
"""By name of a data set the light on its pictures: what red, green and blue are multiplied by."""

_MIN_VISIBLE = 0.35  # of an object's pixels
_MIN_SIDE = 5  # pixels
_QUALITY = 92


def prepare(
    prepared_dir: str | pathlib.Path,
    *,
    name: str = "shapes",
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pathlib.Path:
    """Draws the data set into a TFDS directory, unless it is there already.

    Args:
        prepared_dir: where prepared data sets lie.
        name: one of `LIGHTS`; the objects are the same in every light.
        sizes: number of images of each split; `SIZES` by default.
        seed: other seeds give other pictures.
        progress: whether to show a progress bar.

    Returns:
        The TFDS directory.
    """
    return prepare_drawn(
        prepared_dir,
        name,
        VERSION,
        functools.partial(draw, light=LIGHTS[name]),
        sizes=sizes or SIZES,
        seed=seed,
        progress=progress,
    )


def prepare_drawn(
    prepared_dir: str | pathlib.Path,
    name: str,
    version: int,
    draw: Callable[..., Record],
    *,
    sizes: dict[str, int],
    seed: int,
    progress: bool,
) -> pathlib.Path:
    """Draws a data set of these classes into a TFDS directory, unless it is there already.

    Args:
        prepared_dir: where prepared data sets lie.
        name: of the data set.
        version: of its pictures.
        draw: ``draw(seed=0, split="train", index=3)`` gives a picture.
        sizes: number of images of each split.
        seed: other seeds give other pictures.
        progress: whether to show a progress bar.
    """
    parts = [name, f"v{version}", f"seed{seed}", *(f"{s}{n}" for s, n in sizes.items())]
    directory = local_path(prepared_dir) / "-".join(parts)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with records.lock(directory):
        if not directory.exists():
            categories = [
                {"id": i + 1, "name": shape} for i, shape in enumerate(painting.CLASS_NAMES)
            ]
            splits = {
                split: _records(draw, name, seed, split, n, progress) for split, n in sizes.items()
            }
            records.write(directory, name=name, categories=categories, splits=splits)
    return directory


def _records(draw, name: str, seed: int, split: str, size: int, progress) -> Iterator[Record]:
    """Draws the pictures of a split one by one, with annotation ids that count through it."""
    annotation_id = 0
    indices = progress_bar(
        range(size), desc=f"drawing {name}/{split}", unit="image", disable=not progress
    )
    for index in indices:
        record = draw(seed=seed, split=split, index=index)
        for annotation in record.annotations:
            annotation_id += 1
            annotation["id"] = annotation_id
        yield record


def draw(
    *,
    seed: int,
    split: str,
    index: int,
    light: tuple[float, float, float] = LIGHTS["shapes"],
) -> Record:
    """Draws one picture; equal arguments give the equal picture.

    Args:
        seed: other seeds give other pictures.
        split: to which it belongs.
        index: in its split.
        light: that falls on the finished scene; the grain of the camera stays as it is.

    Returns:
        The picture with its boxes; annotation ids count from 1 within the picture.
    """
    rng = np.random.default_rng([seed, VERSION, index, *split.encode()])
    long, short = int(rng.integers(120, 161)), int(rng.integers(96, 121))
    height, width = (short, long) if rng.random() < 0.7 else (long, short)
    picture = painting.background(rng, height, width)  # [h, w, 3]
    tone = np.array(cv2.mean(picture)[:3], np.float32)
    groups = []  # each becomes one annotation
    if index % 10 != 9:
        groups = [[shape] for shape in _scene(rng, height, width, tone)]
    if index % 10 == 4:
        groups.append(_swarm(rng, height, width, tone))
    groups, coverages = leave_out_hidden(groups, height, width)
    for group in groups:
        for placed in group:
            painting.paint(rng, picture, placed)
    file_name = f"{split}_{index:06d}.jpg"
    image = {"id": index + 1, "file_name": file_name, "height": height, "width": width}
    return annotated(photograph(rng, picture * np.float32(light)), image, groups, coverages)


def photograph(rng, picture: Float32[np.ndarray, "h w 3"]) -> bytes:
    """The picture with grain, as JPEG."""
    grain = 3 * rng.standard_normal((*picture.shape[:2], 1), dtype=np.float32)
    pixels = np.clip(picture + grain, 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return jpeg.tobytes()


def _scene(rng, height: int, width: int, tone) -> list[painting.Shape]:
    """One to six overlapping objects, roughly from large to small, so that little is hidden."""
    count = int(rng.integers(1, 7))
    largest = rng.uniform(52, 88)
    diameters = [largest]
    if count > 1:  # the smallest: at most a quarter
        diameters += np.exp(rng.uniform(np.log(16), np.log(64), count - 2)).tolist()
        diameters.append(rng.uniform(10, largest / 4.4))
    order = np.argsort([-d * rng.uniform(0.6, 1.6) for d in diameters])
    shapes = []
    for diameter in (diameters[i] for i in order):
        radius = diameter / 2
        centre = rng.uniform(0, 1, 2) * [width, height]
        if shapes and rng.random() < 0.6:  # at the rim of an earlier one
            other = shapes[rng.integers(len(shapes))]
            turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.0)
            direction = np.array([np.cos(turn), np.sin(turn)])
            centre = other.centre + direction * (other.radius + radius) * reach
        inset = min(0.8 * radius, 0.4 * min(height, width))
        centre = np.clip(centre, inset, np.array([width, height]) - inset)
        shapes.append(
            _shape(rng, int(rng.integers(len(painting.CLASS_NAMES))), centre, radius, tone)
        )
    return shapes


def _swarm(rng, height: int, width: int, tone) -> list[painting.Shape]:
    """A crowd: nine to eighteen small objects of one class, side by side."""
    label = int(rng.integers(len(painting.CLASS_NAMES)))
    columns, rows = int(rng.integers(3, 7)), 3
    pitch = rng.uniform(9, 12)
    start = rng.uniform(pitch, np.array([width - columns * pitch, height - rows * pitch]))
    shapes = []
    for row in range(rows):
        for column in range(columns):
            centre = start + pitch * (np.array([column, row]) + rng.uniform(-0.2, 0.2, 2))
            shapes.append(_shape(rng, label, centre, pitch * rng.uniform(0.45, 0.6), tone))
    return shapes


def _shape(rng, label: int, centre, radius: float, tone) -> painting.Shape:
    """Adds a random angle and a colour that stands out from the ground."""
    while True:
        hsv = np.float32([[[rng.uniform(0, 360), rng.uniform(0.5, 0.95), rng.uniform(0.6, 1.0)]]])
        colour = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
        if np.abs(colour - tone).max() > 70:
            return painting.Shape(label, centre, float(radius), rng.uniform(0, 2 * math.pi), colour)


def leave_out_hidden(groups: list[list[painting.Shape]], height: int, width: int):
    """Places all objects; drops groups that later ones hide; returns the visible coverages too."""
    kept, coverages = [], []
    free = np.ones((height, width), np.float32)
    for group in reversed(groups):  # front to back
        placed = [painting.place(shape, height, width) for shape in group]
        coverage = np.zeros((height, width), np.float32)
        for one in placed:
            coverage[one.window] = np.maximum(coverage[one.window], one.coverage)
        visible = coverage * free
        left, top, right, bottom = extent(visible)
        if visible.sum() < _MIN_VISIBLE * coverage.sum():
            continue
        if min(right - left, bottom - top) < _MIN_SIDE:
            continue
        free -= visible
        kept.append(placed)
        coverages.append(visible)
    return kept[::-1], coverages[::-1]


def extent(visible: Float32[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that are covered by half or more; zeros for none."""
    rows = np.flatnonzero((visible >= 0.5).any(axis=1))
    columns = np.flatnonzero((visible >= 0.5).any(axis=0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def annotated(jpeg: bytes, image: dict, groups, coverages) -> Record:
    """A picture with boxes and areas of the visible pixels of each group, in COCO's words."""
    annotations, boxes, labels = [], [], []
    for group, visible in zip(groups, coverages, strict=True):
        left, top, right, bottom = map(float, extent(visible))
        boxes.append([left, top, right, bottom])
        labels.append(group[0].shape.label)
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": group[0].shape.label + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": round(float(visible.sum()), 3),
                "iscrowd": int(len(group) > 1),
            }
        )
        if group[0].shape.identity is not None:
            annotations[-1]["identity"] = group[0].shape.identity
    return Record(
        jpeg=jpeg,
        image=image,
        annotations=annotations,
        boxes_xyxy=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        annotation_rows=list(range(len(annotations))),
    )
