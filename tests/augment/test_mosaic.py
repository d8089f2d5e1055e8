"""Mosaic geometry against the golden files."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.augment import mosaic, warp


@pytest.mark.parametrize("name", ["m64_a", "m64_b", "m640", "m640_min", "m640_max", "m9_48"])
def test_golden_mosaic(golden, name):
    arrays = np.load(golden / "preprocess" / "mosaic.npz")
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["mosaic"]
    case = next(case for case in cases if case["name"] == name)
    side, sizes = case["img_size"], np.array(case["sizes_hw"])[:, ::-1]
    count = len(sizes)
    zero = jnp.zeros((count, 2), jnp.int32)
    content = mosaic.Content(zero, jnp.array(sizes, jnp.int32), zero.astype(jnp.float32))
    place = mosaic.mosaic_nine if case["nine"] else mosaic.mosaic_four
    point = jnp.array([int(v) for v in case["center_yc_xc"][::-1]], jnp.int32)
    tiles = place(jnp.arange(count, dtype=jnp.int32), content, point, (side, side))
    if not case["nine"]:
        coords = arrays[f"{name}_coords"]
        np.testing.assert_array_equal(np.hstack([tiles.start, tiles.stop]), coords[:, :4])
        np.testing.assert_array_equal(-np.asarray(tiles.shift), coords[:, 8:])

    boxes, mask = np.zeros((count, 8, 4), np.float32), np.zeros((count, 8), bool)
    for i, size in enumerate(sizes):
        labels = arrays[f"{name}_labels_in{i}"]
        centre, half = labels[:, 1:3] * size, labels[:, 3:] * size / 2
        boxes[i, : len(labels)] = np.hstack([centre - half, centre + half])
        mask[i, : len(labels)] = True
    canvas = jnp.array([2 * side, 2 * side], jnp.float32)
    got = np.asarray(mosaic.tile_boxes(tiles, jnp.asarray(boxes), canvas))[mask]
    np.testing.assert_allclose(got, arrays[f"{name}_labels_out"][:, 1:], rtol=0, atol=1e-4)

    if f"{name}_out" in arrays:
        images = np.zeros((count, side, side, 3), np.uint8)
        for i, (width, height) in enumerate(sizes):
            images[i, :height, :width] = arrays[f"{name}_img{i}"]
        identity = jnp.eye(3, dtype=jnp.float32)
        size = (2 * side, 2 * side)
        got = warp.warp_by_gathers(jnp.asarray(images), tiles, identity, size)
        np.testing.assert_array_equal(got, arrays[f"{name}_out"])
