"""Resampling on the device: images, seen through tiles and a map, straight into the network input.

With the canvas c that `mosaic.Tiles` describe and the map M of `affine`, the network input is
out(p) = c(M^-1 p), interpolated linearly between the pixels of c, whose value is 114 where no tile
lies. That is linear in c, and c is a sum over tiles, so

    out = 114 + sum over tiles of (the tile - 114, sampled; zero outside)

and the canvas is never built. Without rotation, shear and perspective x depends on x alone, and

    out = 114 + sum over tiles of Y_k (image_k - 114) X_k^T

with a matrix Y_k [height, H] of two non-zero weights a row. Three functions compute it:
`warp_by_gathers` (rows, then columns: for CPU and GPU), `warp_by_products` (matrix products: for
TPU), and `warp_general`, which reads the four neighbours of each pixel, for any map.

Like OpenCV, a position is rounded to 1/32 pixel; a weight is then exact in bfloat16.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt8

from yolor_jax.augment.mosaic import Tiles
from yolor_jax.data.letterbox import BORDER

_STEPS = 32.0  # positions per pixel
_FAR = 1e6  # pixels; behind every canvas, and still a number of steps in int32


def warp_by_gathers(
    images: UInt8[Array, "G H W 3"],
    tiles: Tiles,
    matrix: Float32[Array, "3 3"],
    size: tuple[int, int],
) -> UInt8[Array, "height width 3"]:
    """Resamples under a map that only scales and moves, by gathering rows and columns.

    Args:
        images: of the group.
        tiles: the pieces of the canvas.
        matrix: from the canvas to the result; all but its scales and translations is ignored.
        size: height, width of the result.
    """
    x, y = _positions(matrix, size)
    total = jnp.full((*size, 3), float(BORDER), jnp.float32)
    for k in range(tiles.used.shape[0]):
        rows, row_weights = _taps(y, tiles, k, axis=1, length=images.shape[1])
        columns, column_weights = _taps(x, tiles, k, axis=0, length=images.shape[2])
        lines = sum(
            weight[:, None, None]
            * (_at(images, (tiles.member[k], row)).astype(jnp.float32) - BORDER)
            for row, weight in zip(rows, row_weights, strict=True)
        )  # [height, W, 3]
        total += sum(
            weight[None, :, None] * _at(lines, (slice(None), column))
            for column, weight in zip(columns, column_weights, strict=True)
        )
    return _to_uint8(total)


def warp_by_products(
    images: UInt8[Array, "G H W 3"],
    tiles: Tiles,
    matrix: Float32[Array, "3 3"],
    size: tuple[int, int],
) -> UInt8[Array, "height width 3"]:
    """Resamples under a map that only scales and moves, by two matrix products per tile.

    Arguments and result as in `warp_by_gathers`.
    """
    x, y = _positions(matrix, size)
    total = jnp.full((*size, 3), float(BORDER), jnp.float32)
    for k in range(tiles.used.shape[0]):
        down = _hat(y, tiles, k, axis=1, length=images.shape[1])  # [height, H]
        across = _hat(x, tiles, k, axis=0, length=images.shape[2])  # [width, W]
        image = images[tiles.member[k]].astype(jnp.bfloat16) - BORDER  # exact, as is `down`
        lines = jnp.einsum(
            "yh,hwc->ywc", down.astype(jnp.bfloat16), image, preferred_element_type=jnp.float32
        )
        total += jnp.einsum("xw,ywc->yxc", across, lines, precision=jax.lax.Precision.HIGHEST)
    return _to_uint8(total)


def warp_general(
    images: UInt8[Array, "G H W 3"],
    tiles: Tiles,
    matrix: Float32[Array, "3 3"],
    size: tuple[int, int],
) -> UInt8[Array, "height width 3"]:
    """Resamples under any map, perspective included, by gathering four neighbours per pixel.

    Arguments and result as in `warp_by_gathers`.
    """
    x, y = _inverse_positions(matrix, size)
    packed = _pack(images)
    left, top = jnp.floor(x), jnp.floor(y)
    across, down = x - left, y - top
    total = jnp.zeros((*size, 3), jnp.float32)
    for step_y, weight_y in ((0, 1 - down), (1, down)):
        for step_x, weight_x in ((0, 1 - across), (1, across)):
            column, row = left.astype(jnp.int32) + step_x, top.astype(jnp.int32) + step_y
            # Without the barrier XLA would gather once for each colour.
            pixel = jax.lax.optimization_barrier(_look_up(packed, tiles, column, row))
            total += (weight_y * weight_x)[..., None] * _unpack(pixel)
    return _to_uint8(total)


def _at(array, index):
    """The entries at an index that is known to lie inside."""
    return array.at[index].get(mode="promise_in_bounds")


def _rounded(position):
    """To 1/32 pixel."""
    return jnp.floor(jnp.clip(position, -_FAR, _FAR) * _STEPS + 0.5) / _STEPS


def _positions(matrix, size):
    """Positions (x [width], y [height]) on the canvas, of a map that only scales and moves."""
    height, width = size
    x = (jnp.arange(width, dtype=jnp.float32) - matrix[0, 2]) / matrix[0, 0]
    y = (jnp.arange(height, dtype=jnp.float32) - matrix[1, 2]) / matrix[1, 1]
    return _rounded(x), _rounded(y)


def _inverse_positions(matrix, size):
    """Positions (x, y), ``[height, width]`` each, on the canvas, of any map."""
    height, width = size
    a, b, c = matrix
    # The inverse but for the determinant, which cancels in the division.
    inverse = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    column = jnp.arange(width, dtype=jnp.float32)[None, :]
    row = jnp.arange(height, dtype=jnp.float32)[:, None]
    x, y, w = (r[0] * column + r[1] * row + r[2] for r in inverse)
    return _rounded(x / w), _rounded(y / w)


def _taps(position, tiles: Tiles, k: int, axis: int, length: int):
    """The two neighbours of each position in an image, and their weights: ``[2, n]`` each."""
    first = jnp.floor(position)
    fraction = position - first
    pixel = first.astype(jnp.int32)[None] + jnp.arange(2, dtype=jnp.int32)[:, None]
    inside = (pixel >= tiles.start[k, axis]) & (pixel < tiles.stop[k, axis])
    weights = jnp.where(inside, jnp.stack([1 - fraction, fraction]), 0.0)
    return jnp.clip(pixel + tiles.shift[k, axis], 0, length - 1), weights


def _hat(position, tiles: Tiles, k: int, axis: int, length: int):
    """The weight of each pixel of an image at each position, ``[n, length]``."""
    pixel = jnp.arange(length, dtype=jnp.int32) - tiles.shift[k, axis]  # of the canvas
    distance = jnp.abs(position[:, None] - pixel.astype(jnp.float32)[None])
    inside = (pixel >= tiles.start[k, axis]) & (pixel < tiles.stop[k, axis])
    return jnp.where(inside[None], jnp.maximum(1 - distance, 0.0), 0.0)


def _look_up(packed, tiles: Tiles, column, row):
    """The packed pixels of the canvas in these columns and rows, ``[height, width]``."""
    height, width = packed.shape[1:]
    border = jnp.uint32(BORDER * 0x010101)
    address = jnp.zeros(row.shape, jnp.int32)
    covered = jnp.zeros(row.shape, bool)
    for k in range(tiles.used.shape[0]):
        (left, top), (right, bottom) = tiles.start[k], tiles.stop[k]
        here = (column >= left) & (column < right) & (row >= top) & (row < bottom)
        (shift_x, shift_y) = tiles.shift[k]
        there = (tiles.member[k] * height + row + shift_y) * width + column + shift_x
        address = jnp.where(here, there, address)
        covered |= here
    return jnp.where(covered, _at(packed.reshape(-1), address), border)


def _pack(images):
    """Three bytes as one number: a third of the gathers."""
    red, green, blue = (images[..., i].astype(jnp.uint32) for i in range(3))
    return red | (green << 8) | (blue << 16)


def _unpack(pixel):
    return jnp.stack([(pixel >> shift) & 255 for shift in (0, 8, 16)], axis=-1).astype(jnp.float32)


def _to_uint8(image):
    """Rounded to the nearest, halves up."""
    return jnp.floor(image + 0.5).astype(jnp.uint8)
