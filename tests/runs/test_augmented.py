"""The picture at the start of a run shows what its steps see."""

import functools
import itertools

import jax
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.runs import augmented

CONFIG = AugmentConfig(group=4, scale=0.5)
SIZE = (16, 16)


@pytest.mark.parametrize("count", [8, 32])
def test_the_first_images_as_the_steps_augment_them(count, tmp_path, monkeypatch):
    """Of several small batches, or of the first groups of a large one."""
    drawn = []

    def draw_boxes(image, boxes, labels, *, class_names):
        drawn.append((image, boxes, labels))
        return image

    monkeypatch.setattr(augmented, "draw_boxes", draw_boxes)
    batches = [tiny_run.make_batch(count, seed=seed, size=SIZE) for seed in range(16 // count + 1)]
    steps = []

    def augment_at(key, batch, step):
        steps.append(batch.image.shape[0])
        return augment(key, batch, CONFIG)

    key = jax.random.key(7)
    path = tmp_path / "pictures" / "augmented.png"
    augmented.draw(
        path, batches, config=CONFIG, augment=augment_at, key=key, step=3, class_names="abc"
    )
    assert path.exists() and len(drawn) == 16 and steps == [min(count, 16)]

    whole = jax.jit(functools.partial(augment, config=CONFIG))
    seen = [whole(jax.random.fold_in(key, 3 + i), batch) for i, batch in enumerate(batches)]
    rows = itertools.chain.from_iterable(
        zip(*map(np.asarray, (b.image, b.boxes_xyxy, b.labels, b.mask)), strict=True) for b in seen
    )
    for (image, boxes, labels), row in zip(drawn, rows, strict=False):
        np.testing.assert_array_equal(image, row[0])
        np.testing.assert_array_equal(boxes, row[1][row[3]])
        np.testing.assert_array_equal(labels, row[2][row[3]])
