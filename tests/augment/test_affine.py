"""Maps and resampling against the golden files."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.augment import affine, mosaic, warp

NAMES = ("p_scratch1280", "p_scratch640", "p_full_affine", "p_perspective", "p_identity",
         "p_crop_only", "p_rect_nonsquare")  # fmt: skip


def whole(height, width):
    """An image without letterbox as the only tile."""
    zero = jnp.zeros((1, 2), jnp.int32)
    stop = jnp.array([[width, height]], jnp.int32)
    return mosaic.Tiles(
        jnp.zeros(1, jnp.int32), zero, stop, zero, zero.astype(jnp.float32), jnp.ones(1, bool)
    )


@pytest.mark.parametrize("name", NAMES)
def test_golden_map(golden, name):
    """The matrix and boxes to float64; pixels within a level, or two where the map rotates.

    OpenCV 4 rounds the products of a rotation to 1/1024 pixel before it adds them, so a position
    may come out 1/32 pixel further (with that rounding the differences are zero). OpenCV 5 does
    not.
    """
    arrays = np.load(golden / "preprocess" / "perspective.npz")
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["perspective"]
    case = next(case for case in cases if case["name"] == name)
    (height, width), size = case["image_hw"], tuple(case["out_hw"])
    with jax.enable_x64(True):
        d = jnp.asarray(arrays[f"{name}_draws"])
        draws = affine.Affine(d[:2], d[2], d[3], d[4:6], d[6:])
        matrix = affine.affine_matrix(draws, jnp.array([width, height], jnp.float64), size)
        before = jnp.asarray(arrays[f"{name}_targets_in"][:, 1:], jnp.float64)
        after = affine.move_boxes(before, matrix, size)
        kept = affine.are_candidates(before, after, draws.scale)
        np.testing.assert_allclose(matrix, arrays[f"{name}_M"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(after, arrays[f"{name}_boxes_all"], rtol=0, atol=1e-4)
        np.testing.assert_array_equal(kept, arrays[f"{name}_keep"])
    image = arrays["image_64x112" if height == 64 else "image_96"]
    given = (jnp.asarray(image[None]), whole(height, width), jnp.float32(matrix), size)
    ways = [warp.warp_general]
    if not case["kwargs"]["degrees"]:
        ways += [warp.warp_by_gathers, warp.warp_by_products]
    for way in ways:
        got = np.asarray(jax.jit(way, static_argnums=3)(*given)).astype(int)
        difference = np.abs(got - arrays[f"{name}_out"])
        assert np.mean(difference > 0) < 0.007
        if way is warp.warp_general and case["kwargs"]["degrees"]:
            assert np.mean(difference > 1) < 0.002
            assert np.abs(got - arrays[f"{name}_out_cv5"]).max() <= 2
        else:
            assert difference.max() <= 1


@pytest.mark.parametrize(
    ("after", "scale", "kept"),
    [
        ((0, 0, 10, 3.5), 1.0, True),  # 35 of 100
        ((0, 0, 10, 3.5), 2.0, False),  # 35 of 400: the map has magnified it, most is cut off
        ((0, 0, 10, 2), 1.0, False),  # no higher than 2
        ((0, 0, 2.1, 10), 1.0, True),
        ((0, 0, 43, 2.1), 1.0, False),  # an aspect of more than 20
        ((0, 0, 0, 0), 1.0, False),
    ],
)
def test_what_is_kept(after, scale, kept):
    before = jnp.array([0.0, 0.0, 10.0, 10.0])
    assert affine.are_candidates(before, jnp.array(after, jnp.float32), jnp.float32(scale)) == kept
