"""Random affine and perspective maps: the matrix, the boxes under it, and which of them are kept.

A map takes a canvas to the network input: with homogeneous coordinates (x, y, 1) in pixels,

    M = T S R P C    C  moves the middle of the canvas to the origin
                     P  perspective: the bottom row (p_x, p_y, 1)
                     R  rotates by an angle and scales
                     S  shears: [[1, tan s_x], [tan s_y, 1]]
                     T  moves the origin to (t_x width, t_y height) of the network input

    draws = draw_affine(key, degrees=0.0, translate=0.1, scale=0.9, shear=0.0, perspective=0.0)
    matrix = affine_matrix(draws, canvas=jnp.float32([1280, 1280]), size=(640, 640))
    moved_xyxy = move_boxes(boxes_xyxy, matrix, size=(640, 640))
    kept = mask & are_candidates(boxes_xyxy, moved_xyxy, draws.scale)
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from yolor_jax import boxes

MIN_SIDE = 2.0  # pixels; a box must be wider and higher than this to be kept
MIN_AREA = 0.1  # part of its area that must be left
MAX_ASPECT = 20.0

# A coordinate must not be rounded to bfloat16 or TF32.
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Affine(NamedTuple):
    """The random numbers of one map.

    Attributes:
        perspective: (x, y), per pixel.
        angle: in degrees; positive turns the picture anticlockwise.
        scale: factor.
        shear: (x, y), in degrees.
        translate: (x, y) of the middle of the canvas, as a part of width and height of the output.
    """

    perspective: Float[Array, "2"]
    angle: Float[Array, ""]
    scale: Float[Array, ""]
    shear: Float[Array, "2"]
    translate: Float[Array, "2"]


def draw_affine(
    key: PRNGKeyArray,
    *,
    degrees: float,
    translate: float,
    scale: float,
    shear: float,
    perspective: float,
) -> Affine:
    """Draws each number uniformly around the one that changes nothing, to either side.

    Args:
        key: of this image.
        degrees: largest rotation, in degrees.
        translate: largest move, as a part of the side.
        scale: the factor is within 1 ± this.
        shear: largest shear along either axis, in degrees.
        perspective: largest perspective, per pixel.

    Returns:
        The draws, float32.
    """
    symmetric = jax.random.uniform(key, (8,), jnp.float32, -1, 1)
    return Affine(
        perspective=perspective * symmetric[:2],
        angle=degrees * symmetric[2],
        scale=1 + scale * symmetric[3],
        shear=shear * symmetric[4:6],
        translate=0.5 + translate * symmetric[6:],
    )


def affine_matrix(
    draws: Affine, canvas: Float[Array, "2"], size: tuple[int, int]
) -> Float[Array, "3 3"]:
    """M = T S R P C, in the dtype of the draws.

    Args:
        draws: the random numbers.
        canvas: width, height in pixels.
        size: height, width of the network input.

    Returns:
        Takes (x, y, 1) of the canvas to the network input, up to the third coordinate.
    """
    identity = jnp.eye(3, dtype=draws.scale.dtype)
    height, width = size
    centre = identity.at[:2, 2].set(-canvas / 2)
    perspective = identity.at[2, :2].set(draws.perspective)
    angle = jnp.deg2rad(draws.angle)
    cos, sin = draws.scale * jnp.cos(angle), draws.scale * jnp.sin(angle)
    rotation = identity.at[:2, :2].set(jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])]))
    tan_x, tan_y = jnp.tan(jnp.deg2rad(draws.shear))
    shear = identity.at[0, 1].set(tan_x).at[1, 0].set(tan_y)
    extent = jnp.array([width, height], draws.scale.dtype)
    translation = identity.at[:2, 2].set(draws.translate * extent)
    return functools.reduce(_matmul, [translation, shear, rotation, perspective, centre])


def move_boxes(
    boxes_xyxy: Float[Array, "*shape 4"], matrix: Float[Array, "3 3"], size: tuple[int, int]
) -> Float[Array, "*shape 4"]:
    """The upright boxes around the moved corners, clipped to the network input.

    Args:
        boxes_xyxy: in pixels of the canvas.
        matrix: from the canvas to the network input.
        size: height, width of the network input.
    """
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)
    x = jnp.stack([left, right, right, left], axis=-1)  # [..., 4 corners]
    y = jnp.stack([top, top, bottom, bottom], axis=-1)
    moved = _matmul(jnp.stack([x, y, jnp.ones_like(x)], axis=-1), matrix.T)  # [..., 4, 3]
    moved = moved[..., :2] / moved[..., 2:]
    moved = jnp.concatenate([moved.min(axis=-2), moved.max(axis=-2)], axis=-1)  # [..., 4]
    return boxes.clip(moved, *size)


def are_candidates(
    before_xyxy: Float[Array, "*shape 4"],
    after_xyxy: Float[Array, "*shape 4"],
    scale: Float[Array, ""],
) -> Bool[Array, "*shape"]:
    """Whether enough is left: wider and higher than 2 pixels, a tenth of the area, no slit.

    Args:
        before_xyxy: on the canvas.
        after_xyxy: moved and clipped.
        scale: of the map.

    Returns:
        True where a box is to be kept as a target.
    """
    width, height = jnp.moveaxis(after_xyxy[..., 2:] - after_xyxy[..., :2], -1, 0)
    long, short = jnp.maximum(width, height), jnp.minimum(width, height)
    enough = boxes.area(after_xyxy) > MIN_AREA * scale**2 * boxes.area(before_xyxy)
    return (short > MIN_SIDE) & enough & (long < MAX_ASPECT * short)
