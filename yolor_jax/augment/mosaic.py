"""Mosaic: where the pieces of a canvas come from.

A canvas twice as large as the network input holds four (or nine) images that meet in a random
point; what is pasted is an image's content, without its letterbox border. Nothing is pasted here:
`Tiles` say which part of the canvas shows which part of which image, and `warp` samples the images
through them straight into the network input, so that the canvas is never built.

    tiles = mosaic_four(members, content, centre)
    boxes_xyxy = tile_boxes(tiles, boxes_xyxy, canvas=jnp.int32([1280, 1280]))  # [4, T, 4]

Coordinates are (x, y) in pixels; pixel 3 reaches from 3 to 4. The partners of an image come from a
group of the batch in which each image is used equally often.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, PRNGKeyArray

from yolor_jax import boxes

# Which corner of each of the four images lies in the common point: bottom right first.
_TOUCHING = ((1, 1), (0, 1), (1, 0), (0, 0))


class Content(NamedTuple):
    """The part of letterboxed images that is no border; ``N`` images.

    Attributes:
        start: first pixel.
        size: width, height in pixels.
        pad: where the boxes' coordinate of the content begins; `start`, or half a pixel more.
    """

    start: Int32[Array, "*N 2"]
    size: Int32[Array, "*N 2"]
    pad: Float32[Array, "*N 2"]


class Tiles(NamedTuple):
    """The pieces of one canvas; ``K`` tiles.

    Attributes:
        member: which image of the group.
        start: first pixel of the canvas that the tile covers.
        stop: behind the last one; not behind `start` where the tile shows nothing.
        shift: pixel of the canvas + shift = pixel of the image.
        box_shift: box on the image + box_shift = box on the canvas.
        used: false for tiles that only fill up the number K.
    """

    member: Int32[Array, " K"]
    start: Int32[Array, "K 2"]
    stop: Int32[Array, "K 2"]
    shift: Int32[Array, "K 2"]
    box_shift: Float32[Array, "K 2"]
    used: Bool[Array, " K"]


def content_of(letterbox: Float32[Array, "N 3"], size: tuple[int, int]) -> Content:
    """Where the content of letterboxed images lies.

    It stands in the middle, an odd pixel of border behind it; so the width of the border tells the
    content's exactly.

    Args:
        letterbox: (scale, pad_x, pad_y), see `Batch`.
        size: height, width of the letterboxed images.
    """
    pad = letterbox[:, 1:]
    inner = _xy(size)[None] - (2 * pad).astype(jnp.int32)
    return Content(start=jnp.floor(pad).astype(jnp.int32), size=inner, pad=pad)


def partners(key: PRNGKeyArray, group: int, count: int) -> Int32[Array, "G count"]:
    """Which images of a group stand together in each of its mosaics.

    Image g is followed by those s_1, s_2, ... places behind it in a random circle of the group, the
    s being different and not zero: all images of a mosaic differ if there are enough, and each is
    used equally often.

    Args:
        key: of the group.
        group: images in the group, G.
        count: images in a mosaic.

    Returns:
        Members of the group; in column 0 stand 0, 1, ... G - 1.
    """
    circle_key, step_key = jax.random.split(key)
    circle = jax.random.permutation(circle_key, group).astype(jnp.int32)
    steps = jax.random.permutation(step_key, group - 1).astype(jnp.int32) + 1
    others = jnp.resize(steps, count - 1)  # repeated where the group is too small
    steps = jnp.concatenate([jnp.zeros(1, jnp.int32), others])
    places = jnp.argsort(circle).astype(jnp.int32)  # circle[places[g]] == g
    return circle[(places[:, None] + steps[None]) % group]


def draw_centre(
    key: PRNGKeyArray, low: float, high: float, size: tuple[int, int]
) -> Int32[Array, "2"]:
    """A random pixel (x, y) between `low` and `high` times the height and width in `size`."""
    part = jax.random.uniform(key, (2,), jnp.float32, low, high)
    return (part * _xy(size).astype(jnp.float32)).astype(jnp.int32)


def single(member: Int32[Array, "1"], content: Content) -> Tiles:
    """One letterboxed image (its content is ``[1, 2]``) as the canvas."""
    return Tiles(
        member=member,
        start=content.start,
        stop=content.start + content.size,
        shift=jnp.zeros((1, 2), jnp.int32),
        box_shift=jnp.zeros((1, 2), jnp.float32),
        used=jnp.ones(1, bool),
    )


def mosaic_four(
    member: Int32[Array, "4"], content: Content, centre: Int32[Array, "2"], size: tuple[int, int]
) -> Tiles:
    """Four images that touch a point with one corner each: top left, top right, bottom left, right.

    Args:
        member: which images of the group.
        content: theirs, ``[4, 2]``.
        centre: the point, a pixel of the canvas.
        size: height, width of the network input; the canvas has twice both.
    """
    origin = centre[None] - content.size * jnp.array(_TOUCHING, jnp.int32)
    return _pasted(member, content, origin, size)


def mosaic_nine(
    member: Int32[Array, "9"], content: Content, offset: Int32[Array, "2"], size: tuple[int, int]
) -> Tiles:
    """Nine images: one in the middle, the others around it clockwise from the one above it.

    Args:
        member: which images of the group.
        content: theirs, ``[9, 2]``.
        offset: of the canvas in the square of three times `size` on which the images lie.
        size: height, width of the network input; the canvas has twice both.
    """
    w, h = content.size[:, 0], content.size[:, 1]
    zero = jnp.zeros((), jnp.int32)
    x = [zero, zero, w[1], w[0], w[0], w[0] - w[5], w[0] - w[5] - w[6], -w[7], -w[8]]
    y = [zero, -h[1], -h[2], zero, h[3], h[0], h[0], h[0] - h[7], h[0] - h[7] - h[8]]
    origin = jnp.stack([jnp.stack(x), jnp.stack(y)], axis=-1)  # [9, 2] from the middle's corner
    origin += (_xy(size) - offset)[None]
    return _pasted(member, content, origin, size)


def _xy(size: tuple[int, int]):
    """Height, width as (width, height)."""
    return jnp.array(size[::-1], jnp.int32)


def _pasted(member, content: Content, origin, size) -> Tiles:
    """Contents with their first pixel at `origin` of the canvas, as far as they lie on it."""
    canvas = 2 * _xy(size)[None]
    return Tiles(
        member=member,
        start=jnp.clip(origin, 0, canvas),
        stop=jnp.clip(origin + content.size, 0, canvas),
        shift=content.start - origin,
        box_shift=origin.astype(jnp.float32) - content.pad,
        used=jnp.ones(member.shape, bool),
    )


def fill_up(tiles: Tiles, count: int) -> Tiles:
    """Adds tiles that show nothing until there are `count`."""
    missing = count - tiles.used.shape[0]
    return jax.tree.map(
        lambda leaf: jnp.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1)), tiles
    )


def tile_boxes(
    tiles: Tiles, boxes_xyxy: Float32[Array, "K T 4"], canvas: Float32[Array, "2"]
) -> Float32[Array, "K T 4"]:
    """The images' boxes on the canvas, clipped to it.

    Args:
        tiles: the pieces.
        boxes_xyxy: of the image of each tile, in pixels of that image.
        canvas: its width, height.
    """
    moved = boxes_xyxy + jnp.tile(tiles.box_shift, 2)[:, None]
    return boxes.clip(moved, canvas[1], canvas[0])
