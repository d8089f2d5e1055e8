"""Image weights by hand, and draws that are as frequent as they should be, from any position."""

import itertools

import numpy as np
import pytest

from yolor_jax.data.image_weights import WeightedOrder, image_weights
from yolor_jax.data.objects import Objects, all_objects
from yolor_jax.data.pipeline import Reading, train_batches
from yolor_jax.data.sources import open_source
from yolor_jax.preparation import shapes


def objects(labels_of_images):
    counts = [len(labels) for labels in labels_of_images]
    total = sum(counts)
    return Objects(
        image=np.repeat(np.arange(len(counts)), counts),
        boxes_xyxy=np.zeros((total, 4), np.float32),
        labels=np.array([i for labels in labels_of_images for i in labels], np.int32),
        size_hw=np.ones((len(counts), 2), np.int32),
    )


def test_weights_by_hand():
    """Class 0 has four objects, class 1 two, class 2 none, class 3 one; image 2 is empty."""
    got = image_weights(objects([[0, 0, 1], [0], [], [3, 1, 0]]), 5)
    expected = np.array([1 / 4 + 1 / 4 + 1 / 2, 1 / 4, 0, 1 + 1 / 2 + 1 / 4])
    np.testing.assert_allclose(got, expected / 3, rtol=1e-12)
    assert got.sum() == pytest.approx(1)


def test_no_objects_at_all_get_a_sentence():
    with pytest.raises(ValueError, match="no image of the training split"):
        image_weights(objects([[], []]), 3)


def test_images_come_as_often_as_they_weigh():
    weights = np.array([0.0, 5.0, 1.0, 0.0, 2.0, 0.0])
    order = WeightedOrder(weights, seed=0)
    drawn = np.array([order[i] for i in range(60_000)])
    counts = np.bincount(drawn, minlength=6)
    assert not counts[weights == 0].any()
    expected = 60_000 * weights / 8
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected)).all()
    # With replacement: an epoch of six holds some image twice, and epochs differ.
    epochs = drawn.reshape(-1, 6)
    assert len(np.unique(epochs, axis=0)) > 100


def test_every_class_is_seen_equally_often():
    labels = [[0]] * 90 + [[1]] * 9 + [[2]]
    order = WeightedOrder(image_weights(objects(labels), 3), seed=1)
    seen = np.bincount([labels[order[i]][0] for i in range(30_000)])
    np.testing.assert_allclose(seen, 10_000, rtol=0.05)


def test_from_any_position_the_same_draws():
    weights = np.arange(1.0, 12.0)
    whole = WeightedOrder(weights, seed=3)
    first = [whole[i] for i in range(60)]
    fresh = WeightedOrder(weights, seed=3)
    places = [59, 4, 33, 32, 0, 11, 10, 59]
    assert [fresh[np.int64(i)] for i in places] == [first[i] for i in places]
    other = WeightedOrder(weights, seed=4)
    assert [other[i] for i in range(60)] != first
    assert first[:11] != first[11:22]


def test_batches_follow_the_order_and_go_on_anywhere(tmp_path):
    sizes = {"train": 7, "validation": 1}
    source = open_source(shapes.prepare(tmp_path, sizes=sizes, progress=False), "train")
    order = WeightedOrder(image_weights(all_objects(source), 6), seed=0)

    def batches(start, count, process=0, processes=1):
        made = train_batches(
            source, image_size=32, batch_size=4, max_targets=8, seed=0, start=start, order=order,
            reading=Reading(process, processes, threads=2),
        )  # fmt: skip
        return list(itertools.islice(made, count))

    expected = [order[i] for i in range(24)]
    whole = batches(0, 6)
    assert [int(i) for batch in whole for i in batch.index] == expected
    [resumed] = batches(13, 1)
    assert resumed.index.tolist() == expected[13:17]
    image = source[expected[13]]
    assert resumed.mask[0].sum() == len(image.labels)
    halves = [batches(0, 2, process, 2) for process in (0, 1)]
    assert [
        int(i) for pair in zip(*halves, strict=True) for b in pair for i in b.index
    ] == expected[:8]
