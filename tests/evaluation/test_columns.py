"""COCO's format as columns: numbers for ids, and detections by falling score."""

import numpy as np

from tests.support.coco_boxes import box, truth
from yolor_jax.evaluation.columns import (
    best_of_each,
    position_in_run,
    read_detections,
    read_objects,
)


def test_images_by_rising_id_and_classes_in_their_order():
    ground_truth = truth(box(9, [1, 2, 3, 4]), box(2, [5, 6, 7, 8], 3, iscrowd=1), images=(9, 2, 5))
    ground_truth["categories"].reverse()
    objects = read_objects(ground_truth)
    assert objects.image.tolist() == [2, 0]
    assert objects.label.tolist() == [1, 0]
    assert objects.boxes_xywh.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert objects.crowd.tolist() == [False, True]


def test_detections_by_score_then_image_then_as_they_came():
    rows = [(7, 0.5, 0), (2, 0.5, 1), (7, 0.9, 2), (2, 0.5, 3)]
    results = [box(image, [x, 0, 1, 1], score=score) for image, score, x in rows]
    detections = read_detections(truth(images=(2, 7)), results)
    assert detections.boxes_xywh[:, 0].tolist() == [2, 1, 3, 0]
    assert detections.score.tolist() == [0.9, 0.5, 0.5, 0.5]
    assert detections.image.tolist() == [1, 0, 0, 1]


def test_best_of_each():
    rows = [(2, 1, 0.9), (2, 1, 0.8), (2, 3, 0.7), (7, 1, 0.6), (2, 1, 0.5), (2, 3, 0.4)]
    results = [box(image, [0, 0, 1, 1], k, score=score) for image, k, score in rows]
    detections = read_detections(truth(images=(2, 7)), results)
    assert best_of_each(detections, 1).score.tolist() == [0.9, 0.7, 0.6]
    assert best_of_each(detections, 2).score.tolist() == [0.9, 0.8, 0.7, 0.6, 0.4]
    assert best_of_each(detections, 3).score.tolist() == detections.score.tolist()


def test_nothing():
    objects, detections = read_objects(truth()), read_detections(truth(), [])
    assert objects.boxes_xywh.shape == detections.boxes_xywh.shape == (0, 4)
    assert len(best_of_each(detections, 100).score) == 0
    assert len(position_in_run(np.array([], int))) == 0
    assert position_in_run(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
