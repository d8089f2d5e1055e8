"""Augmentation on the device, against the golden files, OpenCV and hand-worked mirrors."""

import dataclasses
import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import NO_AUGMENTATION, AugmentConfig
from yolor_jax.augment.pixels import flip_horizontally, scale_hsv
from yolor_jax.data.example import Batch

scale_hsv_jit = jax.jit(scale_hsv)


def only(**changes):
    """One kind of change alone, jitted."""
    return jax.jit(
        functools.partial(augment, config=dataclasses.replace(NO_AUGMENTATION, **changes))
    )


step = jax.jit(functools.partial(augment, config=AugmentConfig(mixup=0.5, flip_vertical=0.2)))
flip = {p: only(flip_horizontal=p) for p in (0.5, 1.0)}


def a_batch(count=8, size=16, targets=3, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, size, (count, targets, 2, 2)), axis=2)
    mask = rng.random((count, targets)) < 0.6
    boxes = np.where(mask[..., None], corners.reshape(count, targets, 4), 0)
    return Batch(
        image=rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        boxes_xyxy=boxes.astype(np.float32),
        labels=rng.integers(0, 6, (count, targets), dtype=np.int32),
        mask=mask,
        is_crowd=np.zeros((count, targets), bool),
        index=np.arange(count, dtype=np.int32),
        original_size=np.full((count, 2), size, np.int32),
        letterbox=np.tile(np.float32([1, 0, 0]), (count, 1)),
        valid=np.ones(count, bool),
        identity=np.where(mask, 10 * np.arange(count)[:, None] + np.arange(targets), -1).astype(
            np.int32
        ),
    )


def opencv_hsv(image, factors):
    """The original's rule: lookup tables cut to integers, OpenCV before and after."""
    x = np.arange(256, dtype=np.float64)
    hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    hue = cv2.LUT(hue, (x * factors[0] % 180).astype(np.uint8))
    saturation = cv2.LUT(saturation, np.clip(x * factors[1], 0, 255).astype(np.uint8))
    value = cv2.LUT(value, np.clip(x * factors[2], 0, 255).astype(np.uint8))
    return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB)


def test_hsv_golden(golden):
    """Within one level, in 35 of 20,736 values, in all cases but one.

    There the hue factor is 1.15. Factors are float32 here and float64 there: where hue * factor is
    an integer (40 * 1.15), the cut falls on the other side, and one step of hue changes a channel
    by up to 255 / 30 = 8.5 levels.
    """
    arrays = np.load(golden / "preprocess" / "hsv.npz")
    image = np.ascontiguousarray(arrays["image"][..., ::-1])
    differences = []
    for d, draws in enumerate(arrays["draws"]):
        for g, gains in enumerate(arrays["gains"]):
            got = scale_hsv_jit(image, np.float32(draws * gains + 1))
            expected = arrays[f"out_d{d}_g{g}"][..., ::-1]
            differences.append(np.abs(np.asarray(got).astype(int) - expected))
    cut = differences.pop(1)
    assert np.max(differences) <= 1 and np.mean(np.array(differences) > 0) < 0.003
    assert cut.max() <= 8 and np.mean(cut > 0) < 0.05


@pytest.mark.parametrize("factors", [(1, 1, 1), (1.0137, 0.4171, 1.3333), (0.9871, 1.6511, 0.7213)])
def test_hsv_against_opencv_on_many_colours(factors):
    """OpenCV cuts the way back to integers but at the right border, where it rounds: one level."""
    image = np.random.default_rng(3).integers(0, 256, (300, 333, 3), dtype=np.uint8)
    factors = np.float32(factors)
    got = np.asarray(scale_hsv_jit(image, factors)).astype(int)
    assert np.abs(got - opencv_hsv(image, factors.astype(float))).max() <= 1


def test_hsv_of_plain_colours():
    """Grey stays grey, black stays black; a third of the circle turns red into green."""
    image = np.uint8([[[114, 114, 114], [0, 0, 0], [0, 255, 0], [255, 255, 255]]])
    got = scale_hsv_jit(image, np.float32([1.0, 1.7, 0.5]))
    np.testing.assert_array_equal(got, [[[57, 57, 57], [0, 0, 0], [0, 127, 0], [127, 127, 127]]])
    got = scale_hsv_jit(np.uint8([[[0, 255, 0]]]), np.float32([2.0, 1.0, 1.0]))
    np.testing.assert_array_equal(got, [[[0, 0, 255]]])  # hue 60 -> 120
    got = scale_hsv_jit(np.uint8([[[0, 0, 255]]]), np.float32([1.5, 1.0, 1.0]))
    np.testing.assert_array_equal(got, [[[255, 0, 0]]])  # hue 120 -> 180 = 0


def test_flip_mirrors_pixels_and_boxes():
    image = np.zeros((10, 20, 3), np.uint8)
    image[2:5, 3:9] = 255
    boxes = np.float32([[3, 2, 9, 5], [0, 0, 20, 10], [0, 0, 0, 0]])
    mask = np.array([True, True, False])
    flipped, mirrored = flip_horizontally(jnp.asarray(image), jnp.asarray(boxes), jnp.asarray(mask))
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    np.testing.assert_array_equal(mirrored, [[11, 2, 17, 5], [0, 0, 20, 10], [0, 0, 0, 0]])
    ys, xs = np.nonzero(np.asarray(flipped)[..., 0])
    assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == mirrored[0].tolist()
    again = flip_horizontally(flipped, mirrored, jnp.asarray(mask))
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], boxes)


def test_always_never_and_half():
    batch = a_batch(count=64, size=8)
    key = jax.random.key(1)
    always = flip[1.0](key, batch)
    np.testing.assert_array_equal(always.image, batch.image[:, :, ::-1])
    half = flip[0.5](key, batch)
    flipped = (np.asarray(half.image) == batch.image[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 20 <= flipped.sum() <= 44
    np.testing.assert_array_equal(half.boxes_xyxy[flipped], always.boxes_xyxy[flipped])
    np.testing.assert_array_equal(half.boxes_xyxy[~flipped], batch.boxes_xyxy[~flipped])
    never = augment(key, batch, NO_AUGMENTATION)
    for got, expected in zip(never, batch, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_contract():
    """Shapes and types stay, padded targets are zero, boxes lie inside; one compilation."""
    batch = a_batch()
    result = step(jax.random.key(0), batch)
    compilations = step._cache_size()
    for name, got, given in zip(Batch._fields, result, batch, strict=True):
        assert got.shape == given.shape and got.dtype == given.dtype
        if name in ("index", "original_size", "letterbox", "valid"):
            np.testing.assert_array_equal(got, given)
    mask, boxes = np.asarray(result.mask), np.asarray(result.boxes_xyxy)
    assert (boxes[~mask] == 0).all()
    boxes = boxes[mask]
    assert (boxes[:, 0] <= boxes[:, 2]).all() and boxes.min() >= 0 and boxes.max() <= 16
    other = step(jax.random.key(1), batch)
    assert (np.asarray(other.image) != np.asarray(result.image)).any()
    np.testing.assert_array_equal(step(jax.random.key(0), batch).image, result.image)
    assert step._cache_size() == compilations


def test_images_draw_on_their_own():
    batch = a_batch()
    batch = batch._replace(image=np.tile(batch.image[:1], (8, 1, 1, 1)))
    result = np.asarray(step(jax.random.key(0), batch).image)
    assert len({image.tobytes() for image in result}) == 8


def test_vertical_flip_mirrors_pixels_and_boxes():
    batch = a_batch()
    result = only(flip_vertical=1.0)(jax.random.key(0), batch)
    np.testing.assert_array_equal(result.image, batch.image[:, ::-1])
    left, top, right, bottom = np.moveaxis(batch.boxes_xyxy, -1, 0)
    expected = np.where(
        batch.mask[..., None], np.stack([left, 16 - bottom, right, 16 - top], -1), 0
    )
    np.testing.assert_allclose(result.boxes_xyxy, expected, atol=1e-5)


def test_no_targets():
    batch = a_batch()
    batch = batch._replace(
        mask=np.zeros_like(batch.mask), boxes_xyxy=np.zeros_like(batch.boxes_xyxy)
    )
    result = flip[1.0](jax.random.key(0), batch)
    assert (np.asarray(result.boxes_xyxy) == 0).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"hue": -0.1}, r"got {'hue': -0.1}; expected 0 .. 1 for hue \(0: nothing changes"),
        ({"value": 1.5, "degrees": 200.0}, "0 .. 180 for degrees"),
        ({"flip_horizontal": float("nan")}, "flip_horizontal"),
        ({"sampling": "fast"}, "'fast'; expected one of auto, gathers, products"),
        ({"partners": "all"}, "'all'; expected one of batch, recent, dataset"),
        ({"group": 2}, "group=2; a mosaic shows four images of its group: set augment.group=4"),
        ({"group": 0}, "expected a group of at least 1"),
        ({"max_targets": -1}, "max_targets=-1"),
    ],
)
def test_config_is_checked(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        AugmentConfig(**wrong)
