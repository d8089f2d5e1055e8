"""The metrics of the tasks beyond detection, and their evaluation over a split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.evaluation.test_evaluate import CATEGORY_IDS, Truth, batches
from tests.support.leaves import random_leaves
from yolor_jax.evaluation.coco import format_table
from yolor_jax.evaluation.task_metrics import average_precision, mean_average_precision, rank1
from yolor_jax.evaluation.tasks import (
    Observations,
    evaluate_tasks,
    image_classes,
    make_observe,
    task_numbers,
)
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_tasks
from yolor_jax.models.zoo import MODELS
from yolor_jax.training.mesh import map_shards

BOTH = ("classify", "embed")


def test_average_precision_by_hand():
    """Ranks 1, 3 and 4 are right: (1/1 + 2/3 + 3/4) / 3."""
    scores = np.array([0.1, 0.9, 0.5, 0.7, 0.6], np.float32)
    present = np.array([False, True, True, False, True])
    assert average_precision(scores, present) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_equal_scores_enter_together():
    """One of two at the first threshold; what was found there has precision 1/2."""
    scores = np.array([0.8, 0.8, 0.2], np.float32)
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        present = np.array([True, False, True])[order]
        assert average_precision(scores[order], present) == pytest.approx(1 / 4 + 1 / 3)


def test_classes_that_no_image_shows_do_not_count():
    scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.9]], np.float32)
    present = np.array([[True, False, True], [False, False, False]])
    assert mean_average_precision(scores, present) == pytest.approx((1 + 1 / 2) / 2)
    assert mean_average_precision(scores, np.zeros_like(present)) is None


def test_rank1_by_hand():
    queries = np.eye(3, dtype=np.float32)
    assert rank1(queries, queries) == (3, 3)
    assert rank1(queries, queries[[1, 0, 2]]) == (1, 3)
    assert rank1(queries, np.ones_like(queries)) == (0, 3)  # ties
    assert rank1(queries[:1], queries[:1]) == rank1(queries[:0], queries[:0]) == (0, 0)


def test_rounding_does_not_tell_equal_vectors_apart():
    rng = np.random.default_rng(0)
    for number in range(2, 40):
        queries = rng.normal(size=(number, 128)).astype(np.float32)
        gallery = queries + rng.normal(0, 0.01, size=queries.shape).astype(np.float32)
        for vectors in (queries, gallery):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors[-1] = vectors[0]
        assert rank1(queries, gallery) == (number - 2, number)


def with_targets(truth, positions, batch_size):
    """The batches of these images with boxes in pixels of the network input."""
    for batch in batches(positions, batch_size):
        boxes_xyxy = truth.boxes[batch.index] * 0.5 + np.float32([2, 12, 2, 12])
        mask = np.tile(batch.valid[:, None], (1, 2)) & (batch.index < len(truth.boxes) - 1)[:, None]
        yield batch._replace(
            boxes_xyxy=np.where(mask[..., None], boxes_xyxy, 0).astype(np.float32),
            labels=truth.labels[batch.index],
            mask=mask,
            is_crowd=np.zeros_like(mask),
            identity=np.full(mask.shape, -1, np.int32),
        )


def test_which_classes_are_in_which_image():
    truth = Truth(4)
    want = np.zeros((4, 3), bool)
    for i, pair in enumerate(truth.labels[:-1]):
        want[i, pair] = True
    np.testing.assert_array_equal(image_classes(truth), want)


@jax.jit
def all_knowing(variables, image, boxes, objects, identity):
    """Knows the classes of the image whose position stands in its first pixel."""
    position = image[:, 0, 0, 0].astype(jnp.int32)
    vectors = variables["vectors"][position]
    return Observations(variables["present"][position], vectors, vectors, objects, identity)


def knowledge(truth):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(truth.image_ids), 2, 4)).astype(np.float32)
    vectors[0, 1] = vectors[0, 0]  # a tie: these two cannot be told apart
    present = image_classes(truth).astype(np.float32)
    return {
        "present": jnp.asarray(present),
        "vectors": jnp.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)),
    }


def numbers(truth, knows, positions, batch_size, **settings):
    given = with_targets(truth, positions, batch_size)
    return evaluate_tasks(all_knowing, knows, given, truth, tasks=BOTH, progress=False, **settings)


def test_a_network_that_knows_all_scores_one_and_a_tie_is_not_found():
    truth = Truth(10)
    got = numbers(truth, knowledge(truth), range(10), 4)
    assert got == {"classify/mAP": 1.0, "embed/rank1": pytest.approx(16 / 18)}


def test_order_and_batch_size_do_not_matter_but_whose_scores_they_are_does():
    truth = Truth(9)
    knows = knowledge(truth)
    once = numbers(truth, knows, range(9), 9)
    assert numbers(truth, knows, [4, 8, 0, 1, 7, 2, 6, 5, 3], 2) == once
    others = knows | {"present": jnp.roll(knows["present"], 1, axis=0)}
    assert numbers(truth, others, range(9), 4)["classify/mAP"] < 0.9


def test_nothing_to_measure_is_none():
    truth = Truth(1)  # its only image has no object
    got = numbers(truth, knowledge(Truth(3)), range(1), 2)
    assert got == {"classify/mAP": None, "embed/rank1": None}


def test_an_image_that_never_comes_is_an_error():
    truth = Truth(10)
    with pytest.raises(ValueError, match=r"1 of 10 images never came, the first at position 9"):
        numbers(truth, knowledge(truth), range(9), 4)


@pytest.fixture(scope="module")
def network():
    spec = with_tasks(MODELS["yolor_test"], BOTH)
    module = build(spec, len(CATEGORY_IDS))
    return module, random_leaves(variable_shapes(module))


def test_one_network_on_one_and_on_eight_devices(network):
    module, variables = network
    truth = Truth(11)
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "fsdp"))
    observe = jax.jit(map_shards(mesh, make_observe(module)))
    eight = evaluate_tasks(
        observe,
        jax.device_put(variables, NamedSharding(mesh, PartitionSpec())),
        with_targets(truth, range(11), 8),
        truth,
        tasks=BOTH,
        sharding=NamedSharding(mesh, PartitionSpec(("data", "fsdp"))),
        progress=False,
    )
    one = evaluate_tasks(
        jax.jit(make_observe(module)),
        jax.device_put(variables),
        with_targets(truth, range(11), 8),
        truth,
        tasks=BOTH,
        progress=False,
    )
    assert one == pytest.approx(eight)
    assert 0 < one["classify/mAP"] < 1 and 0 <= one["embed/rank1"] <= 1


def nobody(mask):
    return np.full(mask.shape, -1, np.int32)


@pytest.fixture(scope="module")
def observe(network):
    return jax.jit(make_observe(network[0]))


def test_the_other_view_is_the_mirrored_image(network, observe):
    image = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    boxes_xyxy = np.array([[[3, 9, 9, 15], [41, 9, 47, 15], [20, 30, 40, 38]]], np.float32)
    by_hand = np.array([[[55, 9, 61, 15], [17, 9, 23, 15], [24, 30, 44, 38]]], np.float32)
    mask = np.ones((1, 3), bool)
    seen = observe(network[1], image, boxes_xyxy, mask, nobody(mask))
    other = observe(network[1], image[:, :, ::-1].copy(), by_hand, mask, nobody(mask))
    np.testing.assert_allclose(seen.mirrored, other.vectors, atol=1e-5)
    np.testing.assert_allclose(other.mirrored, seen.vectors, atol=1e-5)
    assert np.abs(seen.mirrored - seen.vectors).max() > 1e-3


def test_a_symmetric_picture_shows_whose_vector_is_read(network, observe):
    """Mirrored it is the same picture: the target on the left is that on the right, mirrored."""
    half = np.random.default_rng(0).integers(0, 256, (1, 64, 32, 3), np.uint8)
    image = np.concatenate([half, half[:, :, ::-1]], axis=2)
    boxes_xyxy = np.array([[[3, 9, 9, 15], [55, 9, 61, 15], [20, 30, 40, 38]]], np.float32)
    mask = np.array([[True, True, False]])
    seen = observe(network[1], image, boxes_xyxy, mask, nobody(mask))
    np.testing.assert_allclose(np.linalg.norm(seen.vectors, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(seen.mirrored[0, 0], seen.vectors[0, 1], atol=1e-5)
    np.testing.assert_allclose(seen.mirrored[0, 1], seen.vectors[0, 0], atol=1e-5)
    assert np.abs(seen.vectors[0, 0] - seen.vectors[0, 1]).max() > 1e-3
    np.testing.assert_array_equal(seen.objects, mask)


def test_a_table_with_the_numbers_of_the_tasks():
    columns = {"trained": {"classify/mAP": 0.5, "embed/rank1": None}}
    lines = format_table(columns, task_numbers(BOTH)[:2]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("classify/mAP  classes of the image") and lines[1].endswith("50.0")
    assert lines[2].startswith("embed/rank1 ") and lines[2].endswith("-")
