"""The built-in short films: the shapes as objects that move, and that return in other films.

An object is known by its class, colour, texture and marking (its lower part has another colour),
and has an identity. `POOL` objects of a split appear in all of its films, a few at a time; those of
other splits are other objects. The ground of a film stays as it is. Every frame is a pure function
of (seed, split, index), and a film is `FRAMES` frames that follow each other.

    frame = draw(seed=0, split="train", index=11)              # frame 3 of film 1
    frame.annotations[0]["identity"]
    directory = prepare("prepared", sizes={"train": 24, "validation": 8})
"""

import pathlib
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32

from yolor_jax.preparation import painting
from yolor_jax.preparation.shapes import annotated, leave_out_hidden, photograph, prepare_drawn
from yolor_jax.preparation.shards import Record

SIZES = {"train": 1600, "validation": 200}
VERSION = 1
"""To be raised whenever a picture changes: prepared directories carry it in their name."""
FRAMES = 8
POOL = 40

_HEIGHT, _WIDTH = 112, 144


class Look(NamedTuple):
    """What an object is known by, beside its texture: class, RGB of body and of marking."""

    label: int
    colour: Float32[np.ndarray, "3"]
    marking: Float32[np.ndarray, "3"]


def prepare(
    prepared_dir: str | pathlib.Path,
    *,
    sizes: dict[str, int] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pathlib.Path:
    """Draws the films into a TFDS directory, unless it is there already; as `shapes.prepare`."""
    return prepare_drawn(
        prepared_dir, "shapes_film", VERSION, draw,
        sizes=sizes or SIZES, seed=seed, progress=progress,
    )  # fmt: skip


def draw(*, seed: int, split: str, index: int) -> Record:
    """Draws one frame; equal arguments give the equal picture.

    Returns:
        The frame with its boxes, each with an ``identity``, 0 .. `POOL` - 1.
    """
    film, frame = divmod(index, FRAMES)
    key = [seed, VERSION, *split.encode()]
    rng = np.random.default_rng([*key, 0, film])
    picture = painting.background(rng, _HEIGHT, _WIDTH)  # [h, w, 3]
    objects = [
        [_placed(rng, key, int(identity), frame / (FRAMES - 1))]
        for identity in rng.choice(POOL, rng.integers(2, 6), replace=False)
    ]
    groups, coverages = leave_out_hidden(objects, _HEIGHT, _WIDTH)
    for (placed,) in groups:
        painting.paint(_texture(key, placed.shape.identity), picture, placed)
    jpeg = photograph(np.random.default_rng([*key, 2, index]), picture)
    name = f"{split}_film{film:04d}_{frame}.jpg"
    image = {"id": index + 1, "file_name": name, "height": _HEIGHT, "width": _WIDTH}
    return annotated(jpeg, image, groups, coverages)


def look(key: list[int], identity: int) -> Look:
    """The look of an object, the same in all films of a split."""
    rng = np.random.default_rng([*key, 1, identity])
    hue = rng.uniform(0, 360)
    return Look(
        int(rng.integers(len(painting.CLASS_NAMES))),
        _rgb(hue, rng.uniform(0.5, 0.95), rng.uniform(0.6, 1.0)),
        _rgb(hue + rng.uniform(60, 300), rng.uniform(0.3, 0.95), rng.uniform(0.4, 1.0)),
    )


def _rgb(hue: float, saturation: float, value: float) -> Float32[np.ndarray, "3"]:
    hsv = np.float32([[[hue % 360, saturation, value]]])
    return 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def _texture(key: list[int], identity: int) -> np.random.Generator:
    """What `painting.paint` draws the stripes of an object from, anew for each frame."""
    return np.random.default_rng([*key, 3, identity])


def _placed(rng, key: list[int], identity: int, time: float) -> painting.Shape:
    """An object on its way through a film, time 0..1: along a line, turning."""
    label, colour, marking = look(key, identity)
    start, end = (_place(rng) for _ in range(2))
    angle = rng.uniform(0, 2 * np.pi) + time * rng.uniform(-1.5, 1.5)
    centre = start + time * (end - start)
    radius = float(rng.uniform(12, 24))
    return painting.Shape(label, centre, radius, angle, colour, identity, marking)


def _place(rng) -> Float[np.ndarray, "2"]:
    """A centre from which an object does not reach far out of the picture."""
    return rng.uniform([14, 14], [_WIDTH - 14, _HEIGHT - 14])
