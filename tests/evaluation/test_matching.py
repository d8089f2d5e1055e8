"""Matches: as by plain loops, and what crowds, ties and the cap of a hundred do."""

import numpy as np
import pytest

from tests.support import slow_coco
from tests.support.coco_boxes import box, random_case, truth
from yolor_jax.evaluation import matching
from yolor_jax.evaluation.columns import read_detections, read_objects


def matches_of(ground_truth, results):
    return matching.match(read_objects(ground_truth), read_detections(ground_truth, results))


def as_pairs(matches):
    """(image, class, score, box, box of the object or None), by falling score."""
    objects = [*matches.objects.boxes_xywh.tolist(), None]
    columns = (column.tolist() for column in (*matches.detections, matches.object_of))
    return [
        (image, label, score, bbox, objects[number])
        for image, label, bbox, score, number in zip(*columns, strict=True)
    ]


def slow_pairs(ground_truth, results):
    return [
        (d["image_id"], d["category_id"], d["score"], d["bbox"], a and a["bbox"])
        for d, a in slow_coco.match(ground_truth, results)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_as_by_plain_loops(seed):
    ground_truth, results = random_case(seed)
    expected = slow_pairs(ground_truth, results)
    assert len(expected) < len(results), "no crowd excuses any"
    assert as_pairs(matches_of(ground_truth, results)) == expected


def test_it_makes_no_difference_how_many_pairs_are_looked_at_at_once(monkeypatch):
    case = random_case(0)
    whole = matches_of(*case)
    monkeypatch.setattr(matching, "AT_ONCE", 7)
    parts = matches_of(*case)
    np.testing.assert_array_equal(parts.object_of, whole.object_of)
    for one, other in zip(parts.pairs, whole.pairs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_crowds_and_what_they_excuse_are_gone():
    """Two in the crowd; a third has an object there, with a lower IoU; a fourth another class."""
    ground_truth = truth(
        box(7, [0, 0, 100, 100], iscrowd=1), box(7, [10, 10, 40, 40]), box(7, [300, 0, 10, 10], 3)
    )
    results = [
        box(7, [50, 50, 20, 20], score=0.9),
        box(7, [60, 60, 20, 20], score=0.8),
        box(7, [10, 10, 40, 30], score=0.7),
        box(7, [50, 50, 20, 20], 3, score=0.6),
    ]
    matches = matches_of(ground_truth, results)
    assert matches.detections.score.tolist() == [0.7, 0.6]
    assert matches.object_of.tolist() == [0, -1]
    assert matches.objects.boxes_xywh.tolist() == [[10, 10, 40, 40], [300, 0, 10, 10]]
    assert matches.right.tolist() == [True, False]
    assert matches.found.tolist() == [True, False]
    assert [column.tolist() for column in matches.pairs] == [[0], [0], [0.75]]


def test_the_best_free_object_and_of_equals_the_later_one():
    ground_truth = truth(box(7, [0, 0, 10, 10]), box(7, [0, 0, 10, 10]), box(7, [0, 0, 10, 8]))
    results = [box(7, [0, 0, 10, 10], score=score) for score in (0.5, 0.4, 0.3, 0.2)]
    assert matches_of(ground_truth, results).object_of.tolist() == [1, 0, 2, -1]


def test_a_hundred_of_a_class_in_an_image():
    """The object is that of the detection with the hundred-and-first score."""
    there, away = [0, 0, 10, 10], [50, 50, 10, 10]
    results = [box(7, there, score=0.1), *(box(7, away, score=0.5) for _ in range(100))]
    results += [box(7, away, 3, score=0.4), box(8, away, score=0.4)]
    matches = matches_of(truth(box(7, there), images=(7, 8)), results)
    assert len(matches.object_of) == 102
    assert not matches.right.any()
    assert matches_of(truth(box(7, there), images=(7, 8)), results[:100]).right.sum() == 1


def test_nothing_detected_and_nothing_there():
    ground_truth, results = random_case(0)
    nothing = matches_of(ground_truth, [])
    assert len(nothing.right) == 0 and len(nothing.pairs.iou) == 0
    assert len(nothing.found) > 0 and not nothing.found.any()
    none_there = matches_of({**ground_truth, "annotations": []}, results)
    assert len(none_there.found) == 0
    assert len(none_there.right) == len(results) and not none_there.right.any()
    assert len(matches_of({**ground_truth, "annotations": []}, []).right) == 0


def test_boxes_without_an_area_match_nothing():
    flat = [10, 10, 0, 20]
    assert not matches_of(truth(box(7, flat)), [box(7, flat, score=0.5)]).right.any()


def test_nearest_takes_the_highest_iou_and_of_equals_the_first_object():
    pairs = matching.Pairs(
        np.array([0, 0, 2, 2, 2]), np.array([4, 5, 3, 1, 2]), np.array([0.2, 0.3, 0.5, 0.5, 0.1])
    )
    iou, number = matching.nearest(pairs, 3)
    assert iou.tolist() == [0.3, 0, 0.5]
    assert number.tolist() == [5, -1, 1]
