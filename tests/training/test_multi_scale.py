"""Steps at several sizes: pixels against OpenCV, one program each, the same sizes after a stop."""

import collections
import functools
import itertools

import cv2
import jax
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.augment.resize import resize
from yolor_jax.training import mesh as meshes
from yolor_jax.training import step
from yolor_jax.training.multi_scale import drawn_size, make_multi_scale_step, steps_by_size

SIZES = (8, 12, 16)


@pytest.mark.parametrize("side", [5, 12, 16, 23, 40])
def test_pixels_are_opencv_s_and_boxes_follow(side):
    batch = tiny_run.make_batch(3, size=(16, 16))
    batch = batch._replace(letterbox=np.tile(np.float32([0.5, 0, 3]), (3, 1)))
    got = jax.jit(functools.partial(resize, side=side))(batch)
    expected = [
        cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR) for image in batch.image
    ]
    assert got.image.dtype == np.uint8
    np.testing.assert_allclose(np.int32(got.image), np.int32(expected), atol=1)
    np.testing.assert_allclose(got.boxes_xyxy, batch.boxes_xyxy * side / 16, rtol=1e-6)
    np.testing.assert_allclose(got.letterbox, np.tile([0.5, 0, 3], (3, 1)) * side / 16, rtol=1e-6)
    for name in ("labels", "mask", "is_crowd", "index", "original_size", "valid"):
        np.testing.assert_array_equal(getattr(got, name), getattr(batch, name))


def test_the_same_size_is_the_same_batch():
    batch = tiny_run.make_batch(2, targets=0)
    assert resize(batch, tiny_run.SIZE[0]) is batch
    assert jax.jit(functools.partial(resize, side=12))(batch).boxes_xyxy.shape == (2, 0, 4)


def test_a_step_among_its_four_neighbours():
    """A ramp stays one: the mean of both neighbours, and the border itself outside of it."""
    ramp = np.tile(np.uint8([0, 100, 200])[None, :, None], (3, 1, 3))
    batch = tiny_run.make_batch(1, size=(3, 3))._replace(image=ramp[None])
    got = np.asarray(resize(batch, 6).image)
    np.testing.assert_array_equal(got[0, 2, :, 0], [0, 25, 75, 125, 175, 200])


def test_sizes_are_drawn_evenly_and_by_seed_and_step_alone():
    draws = [drawn_size(SIZES, 3, step) for step in range(3000)]
    assert [drawn_size(SIZES, 3, step) for step in (2999, 7, 0)] == [
        draws[2999],
        draws[7],
        draws[0],
    ]
    counts = collections.Counter(draws)
    assert set(counts) == set(SIZES) and all(900 < n < 1100 for n in counts.values())
    pairs = collections.Counter(itertools.pairwise(draws))
    assert len(pairs) == 9 and all(250 < n < 420 for n in pairs.values())
    other = [drawn_size(SIZES, 4, step) for step in range(3000)]
    assert 900 < sum(a == b for a, b in zip(draws, other, strict=True)) < 1100


@pytest.fixture(scope="module")
def setting():
    """A mesh, a function that makes steps, the sizes that were traced, and the state's maker."""
    mesh, run, config = meshes.make_mesh(), tiny_run.run_length(8), tiny_run.quick(nominal_batch=16)
    traced = []

    def loss(outputs, batch):
        traced.append(batch.image.shape[1])
        return tiny_run.square_loss(outputs, batch)

    def start():
        return tiny_run.start(tiny_run.Tiny(), config, run, mesh)

    make_step = functools.partial(
        step.make_train_step, tiny_run.Tiny(), loss=loss, config=config, run=run, mesh=mesh,
        shardings=meshes.state_sharding(mesh, start()),
    )  # fmt: skip
    return mesh, make_step, traced, start


def noise(key, batch, step):
    return batch._replace(image=batch.image ^ jax.random.bits(key, batch.image.shape, np.uint8))


def darken(key, batch, step):
    return batch._replace(image=batch.image // np.uint8(2))


def walk(setting, train_step, now, numbers, *, prepare=lambda batch: batch):
    mesh = setting[0]
    key = jax.device_put(jax.random.key(0), meshes.replicated(mesh))
    with jax.transfer_guard("disallow"):
        for number in numbers:
            batch = meshes.shard_batch(mesh, prepare(tiny_run.make_batch(8, seed=number)))
            now, _ = train_step(now, batch, key)
    return now


def test_one_program_for_each_size_and_the_same_after_a_stop(setting):
    mesh, make_step, traced, start = setting
    traced.clear()

    def make():
        return make_multi_scale_step(steps_by_size(make_step, augment=noise, sizes=SIZES), seed=5)

    train_step = make()
    whole = tiny_run.host(walk(setting, train_step, start(), range(12)))
    drawn = [drawn_size(SIZES, 5, number) for number in range(12)]
    assert traced == list(dict.fromkeys(drawn)) and set(traced) == set(SIZES)

    stopped = walk(setting, make(), start(), range(5))
    stopped = jax.device_put(tiny_run.host(stopped), meshes.replicated(mesh))
    resumed = tiny_run.host(walk(setting, make(), stopped, range(5, 12)))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    # A step that was used before, given a state of another time, looks at the state.
    again = tiny_run.host(walk(setting, train_step, start(), range(12)))
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_a_step_is_the_plain_step_on_augmented_and_resized_images(setting):
    _, make_step, _, start = setting
    numbers = range(4)
    drawn = [drawn_size((12,), 0, number) for number in numbers]
    assert drawn == [12] * 4
    several = make_multi_scale_step(steps_by_size(make_step, augment=darken, sizes=(12,)), seed=0)
    got = tiny_run.host(walk(setting, several, start(), numbers))
    plain = make_step(augment=tiny_run.no_augment)
    larger = jax.jit(lambda batch: resize(darken(None, batch, 0), 12))
    batches = {n: tiny_run.host(larger(tiny_run.make_batch(8, seed=n))) for n in numbers}
    prepare = lambda batch: batches[int(batch.index[0]) // 8]  # noqa: E731
    expected = tiny_run.host(walk(setting, plain, start(), numbers, prepare=prepare))
    # Two programs may round a pixel that lies halfway between two grey levels to one each.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-4), got, expected)
