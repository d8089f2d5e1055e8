"""Whole augmented batches: boxes sit on their objects, nothing leaves its group, targets travel."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from yolor_jax.augment import affine, mosaic, pixels, warp
from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import NO_AUGMENTATION, AugmentConfig
from yolor_jax.data.example import Batch
from yolor_jax.data.letterbox import letterbox

SIDE = 64
PADDING = (0, 255, 0)  # in the place of the letterbox's grey, to find it again
GROUND = (60, 60, 60)
MOSAIC = dataclasses.replace(NO_AUGMENTATION, mosaic=1.0, translate=0.1, scale=0.4, group=4)


@functools.cache
def compiled(**changes):
    return jax.jit(functools.partial(augment, config=dataclasses.replace(MOSAIC, **changes)))


def four(key, batch):
    return compiled()(key, batch)


def colour(label):
    """Far from those of other labels, from the ground and from the padding."""
    return (250, 40 + 20 * label, 250 - 20 * label)


def pictures(count, seed=0, crowd=False):
    """Letterboxed pictures of many shapes, each with a rectangle whose class is its position."""
    rng = np.random.default_rng(seed)
    batch = []
    for i in range(count):
        height, width = rng.permutation([SIDE, rng.integers(30, SIDE + 1)])
        image = np.full((height, width, 3), GROUND, np.uint8)
        left, top = rng.integers(0, width // 3), rng.integers(0, height // 3)
        right, bottom = rng.integers(width * 2 // 3, width), rng.integers(height * 2 // 3, height)
        image[top:bottom, left:right] = colour(i % 10)
        canvas, (scale, pad_x, pad_y) = letterbox(image, (SIDE, SIDE))
        canvas[(canvas == 114).all(-1)] = PADDING
        boxes = np.zeros((3, 4), np.float32)
        boxes[1] = np.array([left, top, right, bottom]) * scale + [pad_x, pad_y, pad_x, pad_y]
        batch.append((canvas, boxes, (height, width), (scale, pad_x, pad_y)))
    image, boxes, size, box = zip(*batch, strict=True)
    mask = np.tile([False, True, False], (count, 1))
    return Batch(
        image=np.stack(image),
        boxes_xyxy=np.stack(boxes),
        labels=np.where(mask, np.arange(count)[:, None] % 10, 0).astype(np.int32),
        mask=mask,
        is_crowd=mask & crowd,
        index=np.arange(count, dtype=np.int32),
        original_size=np.array(size, np.int32),
        letterbox=np.array(box, np.float32),
        valid=np.ones(count, bool),
        identity=np.where(mask, 100 + np.arange(count)[:, None] % 10, -1).astype(np.int32),
    )


def seen(image, label):
    """The box around the pixels of a class's colour, and their number."""
    like = np.abs(image.astype(int) - colour(label)).max(-1) < 8
    ys, xs = np.nonzero(like)
    if not len(xs):
        return np.zeros(4), 0
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]), len(xs)


def require_boxes_on_objects(result, tolerance, largest):
    """`largest`: the area that an object may have at most and yet be no target."""
    found = 0
    for image, boxes, labels, mask in zip(
        np.asarray(result.image), np.asarray(result.boxes_xyxy), np.asarray(result.labels),
        np.asarray(result.mask), strict=True,
    ):  # fmt: skip
        assert (boxes[~mask] == 0).all() and (labels[~mask] == 0).all()
        for box, label in zip(boxes[mask], labels[mask], strict=True):
            if (labels[mask] == label).sum() == 1:
                np.testing.assert_allclose(seen(image, label)[0], box, atol=tolerance)
                found += 1
        for label in set(range(10)) - set(labels[mask].tolist()):
            assert seen(image, label)[1] <= largest, "an object without its box"
    return found


@pytest.mark.parametrize(
    "changes",
    [{}, {"mosaic_nine": 1.0, "group": 9}, {"mosaic": 0.0}, {"partners": "dataset"},
     {"partners": "recent"}, {"mosaic": 0.5, "flip_horizontal": 0.5, "flip_vertical": 0.5}],
)  # fmt: skip
def test_boxes_sit_on_their_objects_and_no_padding_is_pasted(changes):
    """To the pixel, which is magnified by up to 1.4, half a pixel of letterbox included."""
    config, run = dataclasses.replace(MOSAIC, **changes), compiled(**changes)
    batch, found = pictures(36), 0
    area = np.prod(batch.boxes_xyxy[:, 1, 2:] - batch.boxes_xyxy[:, 1, :2], axis=-1).max()
    for seed in range(2):
        result = run(jax.random.key(seed), batch)
        assert len(result.image) == 36 // config.carried
        found += require_boxes_on_objects(result, 2.2, largest=0.1 * 1.4**2 * area)
        green = (np.asarray(result.image) == PADDING).all(-1)
        assert not green.any()
    assert found > 15


def test_boxes_enclose_their_objects_under_rotation_and_shear():
    run = compiled(degrees=20.0, shear=5.0, perspective=0.0005)
    batch, found = pictures(16), 0
    result = jax.tree.map(np.asarray, run(jax.random.key(3), batch))
    for image, boxes, labels, mask in zip(
        result.image, result.boxes_xyxy, result.labels, result.mask, strict=True
    ):
        for box, label in zip(boxes[mask], labels[mask], strict=True):
            around, count = seen(image, label)
            if count and (labels[mask] == label).sum() == 1:
                assert (around[:2] >= box[:2] - 1.5).all() and (around[2:] <= box[2:] + 1.5).all()
                found += 1
    assert found > 10 and not (result.image == PADDING).all(-1).any()


def bilinear(canvas, matrix):
    """In NumPy; like OpenCV, positions are rounded to 1/32 pixel."""
    x = np.floor((np.arange(SIDE) - matrix[0, 2]) / matrix[0, 0] * 32 + 0.5)[None, :, None] / 32
    y = np.floor((np.arange(SIDE) - matrix[1, 2]) / matrix[1, 1] * 32 + 0.5)[:, None, None] / 32
    far = np.pad(canvas, ((500, 500), (500, 500), (0, 0)), constant_values=114).astype(float)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    total = 0
    for down in (0, 1):
        for right in (0, 1):
            pixel = far[row + down + 500, column + right + 500][:, :, 0]
            total = total + abs(1 - down - (y - row)) * abs(1 - right - (x - column)) * pixel
    return np.floor(total + 0.5).astype(int)


def test_the_canvas_that_is_never_built():
    """Against pasting four images on twice the side and resampling that."""
    batch, size = pictures(4, seed=5), (SIDE, SIDE)
    content = mosaic.content_of(jnp.asarray(batch.letterbox), size)
    members = jnp.arange(4, dtype=jnp.int32)
    ways = [
        jax.jit(functools.partial(way, size=size))
        for way in (warp.warp_by_gathers, warp.warp_by_products, warp.warp_general)
    ]
    for seed in range(6):
        centre_key, affine_key = jax.random.split(jax.random.key(seed))
        centre = mosaic.draw_centre(centre_key, 0.5, 1.5, size)
        tiles = mosaic.mosaic_four(members, content, centre, size)
        draws = affine.draw_affine(
            affine_key, degrees=0.0, translate=0.2, scale=0.6, shear=0.0, perspective=0.0
        )
        matrix = affine.affine_matrix(draws, jnp.array([128.0, 128.0]), size)

        canvas = np.full((128, 128, 3), 114, np.uint8)
        for i, (left, top) in enumerate(np.asarray(tiles.start)):
            right, bottom = np.asarray(tiles.stop)[i]
            dx, dy = np.asarray(tiles.shift)[i]
            piece = batch.image[i, top + dy : bottom + dy, left + dx : right + dx]
            canvas[top:bottom, left:right] = piece
        assert not (canvas == PADDING).all(-1).any()
        expected = bilinear(canvas, np.float64(matrix))
        by_gathers, *others = (np.asarray(way(batch.image, tiles, matrix)) for way in ways)
        assert np.abs(by_gathers - expected).max() <= 1
        for other in others:
            assert np.abs(by_gathers.astype(int) - other).max() <= 1


def test_partners_differ_and_each_is_used_equally_often():
    for group, count in ((8, 4), (4, 4), (9, 9), (2, 2)):
        rows = np.asarray(mosaic.partners(jax.random.key(group), group, count))
        assert rows[:, 0].tolist() == list(range(group))
        assert all(len(set(row)) == count for row in rows.tolist())
        assert (np.bincount(rows.ravel(), minlength=group) == count).all()


def test_devices_work_alone_and_compute_what_one_computes():
    batch, key = pictures(32), jax.random.key(4)
    run = compiled(mixup=1.0)
    mesh = Mesh(np.array(jax.devices()), ("data",))
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    for got, expected in zip(run(key, spread), run(key, batch), strict=True):
        np.testing.assert_array_equal(got, expected)
    program = run.lower(key, spread).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in program


def test_an_image_depends_on_its_group_alone():
    batch, key = pictures(12), jax.random.key(2)
    whole = four(key, batch)
    part = four(key, Batch(*(field[:4] for field in batch)))
    others = np.arange(12)[:, None, None, None] >= 4
    changed = four(key, batch._replace(image=np.where(others, np.uint8(7), batch.image)))
    for got in (part, changed):
        np.testing.assert_array_equal(got.image[:4], whole.image[:4])
        np.testing.assert_array_equal(got.boxes_xyxy[:4], whole.boxes_xyxy[:4])


def test_without_composing_it_is_the_augmentation_without_mosaic_and_mixup():
    batch, key = pictures(8), jax.random.key(9)
    run = compiled(mixup=1.0)
    plain = compiled(mosaic=0.0)(key, batch)
    apart = run(key, batch, composing=jnp.array(False))
    before = run._cache_size()
    composed = run(key, batch, composing=jnp.array(True))
    assert run._cache_size() == before
    for got, expected in zip(apart, plain, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert (np.asarray(composed.image) != plain.image).any()


def test_mixup_shows_both_images_and_has_the_targets_of_both():
    batch = pictures(8)
    flat = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.uint8(30)
    batch = batch._replace(image=np.broadcast_to(flat, batch.image.shape).copy())
    run = compiled(mosaic=0.0, translate=0.0, scale=0.0, mixup=1.0)
    result = jax.tree.map(np.asarray, run(jax.random.key(1), batch))
    values = result.image[:, 0, 0, 0].astype(float) / 30
    assert (result.image == result.image[:, :1, :1, :1]).all()
    assert (result.mask.sum(1) == 2).all()
    for i, (value, labels, mask) in enumerate(zip(values, result.labels, result.mask, strict=True)):
        pair = set(labels[mask].tolist())
        assert i in pair and min(pair) < value < max(pair)


def test_the_ratio_is_beta_8_8():
    ratios = np.asarray(jax.vmap(pixels.draw_ratio)(jax.random.split(jax.random.key(0), 20_000)))
    assert ratios.mean() == pytest.approx(0.5, abs=0.005)
    assert ratios.var() == pytest.approx(1 / (4 * 17), rel=0.05)
    half = np.uint8(np.full((2, 2, 3), 100)), np.uint8(np.full((2, 2, 3), 201))
    np.testing.assert_array_equal(pixels.mix(*map(jnp.asarray, half), jnp.float32(0.25)), 176)


def test_of_too_many_targets_the_largest_are_kept():
    batch, key = pictures(8), jax.random.key(6)
    many = jax.tree.map(np.asarray, four(key, batch))
    few = jax.tree.map(np.asarray, compiled(max_targets=1)(key, batch))
    assert many.boxes_xyxy.shape == (8, 3, 4) and few.boxes_xyxy.shape == (8, 1, 4)
    area = np.prod(many.boxes_xyxy[..., 2:] - many.boxes_xyxy[..., :2], axis=-1)
    assert (many.mask.sum(1) > 1).any()
    for i in range(8):
        if many.mask[i].any():
            np.testing.assert_array_equal(
                few.boxes_xyxy[i, 0], many.boxes_xyxy[i, area[i].argmax()]
            )


def test_crowds_take_no_room_from_objects():
    batch, key = pictures(8), jax.random.key(6)
    crowds = batch._replace(is_crowd=batch.mask & (np.arange(8)[:, None] % 2 == 0))
    many = jax.tree.map(np.asarray, four(key, crowds))
    few = jax.tree.map(np.asarray, compiled(max_targets=1)(key, crowds))
    objects = (many.mask & ~many.is_crowd).any(1)
    assert (objects & many.is_crowd.any(1)).any()
    np.testing.assert_array_equal(few.mask[:, 0] & ~few.is_crowd[:, 0], objects)


def test_crowds_stay_crowds_and_images_without_targets_work():
    crowds = four(jax.random.key(0), pictures(8, crowd=True))
    assert crowds.is_crowd.any() and (np.asarray(crowds.is_crowd) == crowds.mask).all()
    batch = pictures(8)
    nothing = batch._replace(
        mask=np.zeros_like(batch.mask), boxes_xyxy=np.zeros_like(batch.boxes_xyxy)
    )
    result = four(jax.random.key(0), nothing)
    assert not result.mask.any() and (np.asarray(result.boxes_xyxy) == 0).all()
    none = batch._replace(
        boxes_xyxy=batch.boxes_xyxy[:, :0], labels=batch.labels[:, :0], mask=batch.mask[:, :0],
        is_crowd=batch.is_crowd[:, :0],
    )  # fmt: skip
    assert four(jax.random.key(0), none).boxes_xyxy.shape == (8, 0, 4)


def test_groups_that_do_not_fit():
    config = AugmentConfig()
    config.require_groups(16)
    with pytest.raises(ValueError, match=r"groups of 8 .* the 12 images .* augment.group=6, or"):
        config.require_groups(12)
    with pytest.raises(ValueError, match=r"the 2 images .*: use a larger batch, or set augment.mo"):
        config.require_groups(2)
    dataclasses.replace(config, partners="dataset").require_groups(3)
    dataclasses.replace(config, mosaic=0.0).require_groups(1)
    with pytest.raises(ValueError, match="groups of 4 "):
        four(jax.random.key(0), pictures(6))
