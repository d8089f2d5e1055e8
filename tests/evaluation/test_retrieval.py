"""Retrieval of objects by their vectors, against loops in NumPy and by hand."""

import types

import numpy as np
import pytest

from yolor_jax.detection.nms import Detections
from yolor_jax.evaluation import retrieval as module
from yolor_jax.evaluation.known_objects import KnownObjects
from yolor_jax.evaluation.retrieval import retrieval, true_positive_rate
from yolor_jax.evaluation.tasks import IDENTITY_NUMBERS


def unit(*shape, seed=0):
    v = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def scene(seed, number=40, identities=6):
    rng = np.random.default_rng(seed)
    return (
        unit(number, 3, seed=seed),
        rng.integers(0, identities, number),
        rng.integers(0, 9, number),
    )


def loops(vectors, identity, image, far):
    """Recall@1, mAP by ranks, and TPR by counting over every threshold."""
    first, precisions, right, wrong = [], [], [], []
    for i in range(len(vectors)):
        others = [j for j in range(len(vectors)) if image[j] != image[i]]
        alike = {j: float(vectors[i] @ vectors[j]) for j in others}
        ranked = sorted(others, key=lambda j: -alike[j])
        hits = [identity[j] == identity[i] for j in ranked]
        if any(hits):
            first.append(hits[0])
            at = np.flatnonzero(hits)
            precisions.append(np.mean([(n + 1) / (rank + 1) for n, rank in enumerate(at)]))
        for j in others:
            if j > i:
                (right if identity[j] == identity[i] else wrong).append(alike[j])
    rates = [np.mean(np.array(right) > t) for t in wrong if np.mean(np.array(wrong) > t) <= far]
    return np.mean(first), np.mean(precisions), max(rates)


@pytest.mark.parametrize("seed", range(3))
def test_against_loops(seed, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 7)
    vectors, identity, image = scene(seed)
    recall1, mean_ap, rate = loops(vectors, identity, image, 0.1)
    assert retrieval(vectors, identity, image) == pytest.approx((recall1, mean_ap))
    assert true_positive_rate(vectors, identity, image, far=0.1) == pytest.approx(rate)


def test_by_hand():
    vectors = np.float32([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]])
    image = np.arange(4)
    assert retrieval(vectors, np.array([0, 0, 1, 1]), image) == (0.5, pytest.approx(0.75))
    together = np.zeros(4, int)  # all in one image: nobody is asked for
    assert retrieval(vectors, np.array([0, 0, 1, 1]), together) == (None, None)
    assert true_positive_rate(vectors, np.arange(4), image, far=0.1) is None


def test_a_tie_is_not_found():
    vectors = np.float32([[1, 0], [1, 0], [1, 0]])
    recall1, _ = retrieval(vectors, np.array([0, 0, 1]), np.arange(3))
    assert recall1 == 0


def test_of_very_many_some_are_taken(monkeypatch):
    monkeypatch.setattr(module, "MOST", 10)
    vectors, identity, image = scene(0)
    rows = np.arange(10) * 4
    some = vectors[rows], identity[rows], image[rows]
    assert retrieval(vectors, identity, image) == retrieval(*some)


def seen_of(vectors, identity, boxes_xyxy, found, found_vectors):
    return types.SimpleNamespace(
        vectors=vectors, identity=identity, objects=np.ones(identity.shape, bool),
        boxes_xyxy=boxes_xyxy, found=found, found_vectors=found_vectors,
    )  # fmt: skip


def test_detections_speak_for_the_objects_that_they_lie_on():
    """Two objects on each of two images; on the second one of them is missed."""
    boxes_xyxy = np.tile(np.float32([[[0, 0, 10, 10], [20, 0, 30, 10]]]), (2, 1, 1))
    identity = np.array([[0, 1], [1, 0]], np.int32)
    true = np.float32([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
    lies_on = np.float32([[1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]])
    elsewhere = lies_on + np.float32([[50, 0, 50, 0], [0] * 4, [50, 0, 50, 0]])
    found = Detections(
        boxes_xyxy=np.stack([lies_on, elsewhere]),
        scores=np.float32([[0.9, 0.8, 0.3], [0.9, 0.8, 0.3]]),
        labels=np.zeros((2, 3), np.int32),
        mask=np.array([[True, True, True], [True, True, False]]),
    )
    found_vectors = np.float32([[[0, 1], [1, 0], [1, 0]], [[1, 0], [1, 0], [0, 0]]])
    known = KnownObjects()
    known.add(np.array([3, 5]), seen_of(true, identity, boxes_xyxy, found, found_vectors))
    got = known.numbers()
    assert set(got) == {name for name, _ in IDENTITY_NUMBERS}
    assert (got["embed/recall1"], got["embed/TPR_FAR0.1"]) == (1.0, 1.0)
    assert got["embed/detected"] == 3 / 4
    # Of the first object the better detection, which has the vector of the other one: the object
    # on the second image is found wrongly, and that on the first by having no rival there.
    assert got["embed/detected_recall1"] == 0.5


def test_no_identities_no_numbers():
    known = KnownObjects()
    assert known.numbers() == {}
    nobody = np.full((1, 2), -1, np.int32)
    known.add(np.array([0]), seen_of(unit(1, 2, 4), nobody, np.zeros((1, 2, 4)), None, None))
    assert known.numbers() == {}
