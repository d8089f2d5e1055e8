"""Painting of the built-in data set: one textured ground, and one object at a time on it.

Everything works in a window of the picture; the coverage of a pixel is the fraction of it that lies
in the object, so that edges are smooth and areas exact to a sixteenth of a pixel.

    picture = background(rng, 128, 160)
    disc = Shape(0, np.array([80.0, 64.0]), 20.0, 0.0, np.float32([255, 0, 0]))
    paint(rng, picture, place(disc, 128, 160))
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32

CLASS_NAMES = ("disc", "square", "triangle", "star", "ring", "cross")
_SUBPIXELS = 4


class Shape(NamedTuple):
    """One object to draw: class, centre (x, y) and radius in pixels, angle in radians, RGB.

    One that is known again has an ``identity``, and as its marking the RGB of its lower part.
    """

    label: int
    centre: Float[np.ndarray, "2"]
    radius: float
    angle: float
    colour: Float32[np.ndarray, "3"]
    identity: int | None = None
    marking: Float32[np.ndarray, "3"] | None = None


class Placed(NamedTuple):
    """An object in a picture: rows and columns that it touches, and its coverage of each pixel."""

    shape: Shape
    window: tuple[slice, slice]
    coverage: Float32[np.ndarray, "h w"]


def place(shape: Shape, height: int, width: int) -> Placed:
    """Finds the pixels of an object and its shadow, and how much of each lies in the object."""
    reach = 1.4 * shape.radius + 5
    left, top = (max(int(v), 0) for v in shape.centre - reach)
    right, bottom = (
        min(math.ceil(v), m) for v, m in zip(shape.centre + reach, (width, height), strict=True)
    )
    fine = np.zeros(((bottom - top) * _SUBPIXELS, (right - left) * _SUBPIXELS), np.uint8)
    contours = [np.round((c - [left, top]) * _SUBPIXELS - 0.5) for c in _contours(shape)]
    cv2.fillPoly(fine, [c.astype(np.int32) for c in contours], 255)  # even-odd: a second is a hole
    coarse = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    window = (slice(top, bottom), slice(left, right))
    return Placed(shape, window, coarse.astype(np.float32) / 255)


def paint(rng, picture: Float32[np.ndarray, "h w 3"], placed: Placed) -> None:
    """Paints one object into the picture: soft shadow, shaded face, darker rim."""
    shape, window, alpha = placed
    rows, columns = window
    softness = 0.6 + shape.radius / 14
    shift = np.array([[1, 0, softness], [0, 1, 1.4 * softness]], np.float32)
    shadow = cv2.warpAffine(alpha, shift, alpha.shape[::-1])
    shadow = cv2.GaussianBlur(shadow, (0, 0), softness)
    thickness = 3 + 2 * int(shape.radius / 12)
    inner = cv2.erode(alpha, np.ones((thickness, thickness), np.uint8), borderValue=1)
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    light = (float(shape.centre.sum()) - x - y) / (2 * shape.radius)
    light = 1 + 0.22 * np.clip(light, -1, 1)
    if rng.random() < 0.35 and shape.radius > 10:  # stripes
        turn, pitch = rng.uniform(0, np.pi), rng.uniform(4, 9)
        wave = np.sin((x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / pitch))
        light = light * np.where(wave > 0, np.float32(1), np.float32(0.78))
    light = light * (0.55 + 0.45 * inner)  # rim
    colour = shape.colour
    if shape.marking is not None:
        below = y - shape.centre[1] > 0.15 * shape.radius
        colour = np.where(below[..., None], shape.marking, colour)  # [h, 1, 3]
    face = np.clip(light[..., None] * colour, 0, 255)
    ground = picture[window] * (1 - 0.4 * shadow[..., None])
    picture[window] = ground + alpha[..., None] * (face - ground)


def background(rng, height: int, width: int) -> Float32[np.ndarray, "h w 3"]:
    """A muted ground of two tones, mixed by clouds, waves, tiles or a plain gradient."""
    base = rng.uniform(50, 205)
    tones = np.clip(base + rng.normal(0, 18, (2, 3)) + rng.uniform(-35, 35, (2, 1)), 20, 235)
    tones = tones.astype(np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    turn, pitch, kind = rng.uniform(0, 2 * math.pi), rng.uniform(10, 34), rng.integers(4)
    along = x * math.cos(turn) + y * math.sin(turn)
    across = y * math.cos(turn) - x * math.sin(turn)
    clouds = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.5), (7, 0.3), (19, 0.2)):
        noise = weight * rng.random((cells, cells), dtype=np.float32)
        clouds += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    if kind == 0:
        mix = 0.5 + 0.5 * np.sin(along * (2 * math.pi / pitch) + 2 * np.sin(across / pitch))
    elif kind == 1:
        tiles = (np.floor(along / pitch) + np.floor(across / pitch)) % 2
        mix = cv2.GaussianBlur(tiles, (0, 0), 0.8)
    elif kind == 2:
        mix = (along - along.min()) / np.ptp(along)
    else:
        mix = clouds
    mix = np.clip(0.6 * mix + 0.4 * clouds, 0, 1)
    return tones[0] + mix[..., None] * (tones[1] - tones[0])


def _contours(shape: Shape) -> list[Float[np.ndarray, "p 2"]]:
    """Closed polygons in pixels; a second one is a hole."""

    def circle(radii):
        turns = shape.angle + np.arange(len(radii)) * (2 * np.pi / len(radii))
        return np.stack([np.cos(turns), np.sin(turns)], axis=-1) * np.array(radii)[:, None]

    name = CLASS_NAMES[shape.label]
    if name == "disc":
        contours = [circle([1.0] * 48)]
    elif name == "square":
        contours = [circle([1.15] * 4)]
    elif name == "triangle":
        contours = [circle([1.15] * 3)]
    elif name == "star":
        contours = [circle([1.15, 0.48] * 5)]
    elif name == "ring":
        contours = [circle([1.0] * 48), circle([0.52] * 48)]
    else:  # cross: arms a third as wide as the whole
        a, b = 1.0, 0.34
        points = [(a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)]
        points += [(-b, -a), (b, -a), (b, -b)]
        cos, sin = np.cos(shape.angle), np.sin(shape.angle)
        contours = [np.array(points) @ np.array([[cos, sin], [-sin, cos]])]
    return [shape.centre + shape.radius * contour for contour in contours]
