"""Reliability by bin and the score histogram: hand-worked."""

import pytest

from tests.support.coco_boxes import box, truth
from yolor_jax.evaluation.calibration import calibrate, histogram_of_scores
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.matching import match

THERE, AWAY = [0, 0, 10, 10], [50, 50, 10, 10]


def matches_of(right, wrong):
    """One object in an image for each right score; the wrong ones are in the first."""
    images = range(len(right) + 1)
    ground_truth = truth(*(box(i, THERE) for i in range(len(right))), images=images)
    results = [box(i, THERE, score=score) for i, score in enumerate(right)]
    results += [box(0, AWAY, score=score) for score in wrong]
    return match(read_objects(ground_truth), read_detections(ground_truth, results))


def test_calibration():
    """Three from 0.6 to 2/3, two of them right; one alone in the last bin; one below 0.05."""
    calibration = calibrate(matches_of([0.6, 0.65, 1.0], [0.61, 0.04]))
    assert calibration.least_score == 0.05
    assert [(b.lower, b.upper) for b in calibration.bins] == [
        pytest.approx((i / 15, (i + 1) / 15)) for i in range(15)
    ]
    some = {i: b for i, b in enumerate(calibration.bins) if b.count}
    assert {i: b.count for i, b in some.items()} == {9: 3, 14: 1}
    assert some[9].mean_score == pytest.approx(0.62)
    assert some[9].precision == pytest.approx(2 / 3)
    assert (some[14].mean_score, some[14].precision) == (1.0, 1.0)
    assert calibration.expected_calibration_error == pytest.approx(3 / 4 * (2 / 3 - 0.62))
    assert calibration.bins[0].mean_score is calibration.bins[0].precision is None


def test_histogram():
    histogram = histogram_of_scores(matches_of([0.6, 0.65, 1.0], [0.61, 0.04, 0.0]))
    assert histogram.edges == pytest.approx([i / 20 for i in range(21)])
    assert {i: n for i, n in enumerate(histogram.matched) if n} == {12: 1, 13: 1, 19: 1}
    assert {i: n for i, n in enumerate(histogram.unmatched) if n} == {0: 2, 12: 1}


def test_nothing_detected():
    calibration = calibrate(matches_of([], []))
    assert calibration.expected_calibration_error is None
    assert [b.count for b in calibration.bins] == [0] * 15
    histogram = histogram_of_scores(matches_of([], []))
    assert histogram.matched == histogram.unmatched == [0] * 20
