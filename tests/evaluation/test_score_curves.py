"""Precision, recall and F1 by score: hand-worked, and by counting."""

import numpy as np
import pytest

from tests.support.coco_boxes import box, one_of_each_kind, random_case, truth
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.matching import match
from yolor_jax.evaluation.score_curves import SCORES, score_curves


def curves_of(ground_truth, results, scores=SCORES):
    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    return score_curves(matches, np.asarray(scores), len(ground_truth["categories"])), matches


def test_hand_worked():
    """A detection has "at least" its own score. Class b has one object and one false detection."""
    curves, _ = curves_of(*one_of_each_kind(), [0.0, 0.3, 0.31, 0.7, 0.95])
    np.testing.assert_allclose(curves.precision[0], [2 / 6, 2 / 6, 1 / 5, 1 / 3, np.nan])
    np.testing.assert_allclose(curves.recall[0], [2 / 5, 2 / 5, 1 / 5, 1 / 5, 0])
    np.testing.assert_allclose(curves.f1[0], [4 / 11, 4 / 11, 2 / 10, 2 / 8, 0])
    np.testing.assert_allclose(curves.precision[1], [0, 0, 0, np.nan, np.nan])
    np.testing.assert_allclose(curves.f1[1], 0)
    np.testing.assert_allclose(curves.mean_f1, curves.f1[0] / 2)
    assert curves.objects.tolist() == [5, 1]


@pytest.mark.parametrize("seed", range(3))
def test_by_counting(seed):
    curves, matches = curves_of(*random_case(seed))
    labels, scores = matches.detections.label, matches.detections.score
    for k in range(4):
        objects = np.sum(matches.objects.label == k)
        assert curves.objects[k] == objects
        for s in range(0, 101, 5):
            kept = (labels == k) & (scores >= SCORES[s])
            right = np.sum(kept & matches.right)
            if kept.any():
                assert curves.precision[k, s] == right / kept.sum()
            if objects:
                assert curves.recall[k, s] == right / objects
                assert curves.f1[k, s] == 2 * right / (kept.sum() + objects)


def test_classes_without_objects_and_detections():
    curves, _ = curves_of(truth(), [box(7, [0, 0, 1, 1], score=0.5)])
    assert np.isnan(curves.f1).all() and np.isnan(curves.recall).all()
    assert curves.mean_f1.tolist() == [0] * 101
    curves, _ = curves_of(truth(box(7, [0, 0, 1, 1])), [])
    assert np.isnan(curves.precision).all()
    assert curves.recall[0].tolist() == curves.f1[0].tolist() == [0] * 101
