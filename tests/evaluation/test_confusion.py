"""The confusion matrix: hand-worked, and its sums on drawn boxes."""

import numpy as np
import pytest

from tests.support.coco_boxes import box, one_of_each_kind, random_case, truth
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.confusion import confusion
from yolor_jax.evaluation.matching import match


def matrix_of(ground_truth, results, score):
    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    return confusion(matches, score, len(ground_truth["categories"]))


def test_hand_worked():
    assert matrix_of(*one_of_each_kind(), 0.0).tolist() == [[2, 1, 2], [0, 0, 1], [4, 0, 0]]
    assert matrix_of(*one_of_each_kind(), 0.65).tolist() == [[1, 0, 4], [0, 0, 1], [2, 0, 0]]


def test_own_class_first_then_the_best_of_another_by_score():
    """By score 0.9 takes the object of class a, 0.8 that of class b, which 0.7 lies on as well."""
    there, near = [0, 0, 30, 30], [0, 0, 30, 24]
    ground_truth = truth(box(7, there), box(7, near, 3))
    results = [
        box(7, near, score=0.9),
        box(7, there, score=0.8),
        box(7, near, score=0.7),
    ]
    assert matrix_of(ground_truth, results, 0.0).tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert matrix_of(ground_truth, results, 0.85).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("score", [0.0, 0.4, 1.1])
@pytest.mark.parametrize("seed", range(3))
def test_rows_sum_to_objects_columns_to_detections_and_the_diagonal_to_matches(seed, score):
    ground_truth, results = random_case(seed)
    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    matrix = confusion(matches, score, 4)
    detections = matches.detections
    counts = detections.score >= score
    bincount = lambda labels: np.bincount(labels, minlength=4).tolist()  # noqa: E731
    assert matrix.sum(axis=1)[:-1].tolist() == bincount(matches.objects.label)
    assert matrix.sum(axis=0)[:-1].tolist() == bincount(detections.label[counts])
    assert np.diag(matrix)[:-1].tolist() == bincount(detections.label[counts & matches.right])
    assert matrix[-1, -1] == 0


def test_nothing_detected_and_nothing_there():
    ground_truth, results = one_of_each_kind()
    assert matrix_of(ground_truth, [], 0.0).tolist() == [[0, 0, 5], [0, 0, 1], [0, 0, 0]]
    nothing_there = {**ground_truth, "annotations": []}
    assert matrix_of(nothing_there, results, 0.0).tolist() == [[0, 0, 0], [0, 0, 0], [6, 1, 0]]
    assert not matrix_of(nothing_there, [], 0.0).any()
