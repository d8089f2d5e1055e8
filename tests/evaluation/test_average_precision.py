"""Average precision: hand-worked, by plain loops, and COCO's own on real images."""

import json

import numpy as np
import pytest

from tests.support import slow_coco
from tests.support.coco_boxes import noisy_detections
from yolor_jax.evaluation.average_precision import average_precision, mean_average_precision
from yolor_jax.evaluation.coco import coco_metrics
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.matching import match


def test_hand_worked():
    """Precision 1 up to recall 1/4 (26 recalls), 2/3 up to 1/2 (25), then nothing."""
    right = np.array([True, False, True, False])
    assert average_precision(right, 4) == pytest.approx((26 + 25 * 2 / 3) / 101)
    assert average_precision(np.zeros(0, bool), 4) == 0


def test_classes_without_objects_do_not_count():
    label, right = np.array([0, 2, 1, 2]), np.array([True, False, False, True])
    objects = np.array([1, 0, 1, 1])
    assert mean_average_precision(label, right, objects) == pytest.approx((1 + 0.5 + 0) / 3)
    assert mean_average_precision(label, right, np.zeros(4, int)) is None


@pytest.mark.parametrize("seed", range(5))
def test_as_by_plain_loops(seed):
    rng = np.random.default_rng(seed)
    right = rng.random(30) < 0.5
    objects = int(right.sum()) + seed
    expected = slow_coco.average_precision(right.tolist(), objects)
    assert average_precision(right, objects) == pytest.approx(expected, abs=1e-12)


def test_of_our_matches_it_is_cocos_ap50_on_real_images(shared):
    file = shared / "data" / "coco128" / "annotations" / "instances_val2017.json"
    ground_truth = json.loads(file.read_text())
    results = noisy_detections(ground_truth)
    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    objects = np.bincount(matches.objects.label, minlength=len(ground_truth["categories"]))
    ours = mean_average_precision(matches.detections.label, matches.right, objects)
    assert ours == pytest.approx(coco_metrics(ground_truth, results)["AP50"], abs=1e-12)
