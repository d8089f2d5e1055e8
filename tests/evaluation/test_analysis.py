"""The analysis: hand-worked, equal to COCO's numbers on real images, and there and back as JSON."""

import copy
import json

import numpy as np
import pytest

from tests.support.coco_boxes import box, noisy_detections, one_of_each_kind, random_case, truth
from yolor_jax.errors import InputError
from yolor_jax.evaluation.analysis import analyse, from_json, to_json
from yolor_jax.evaluation.coco import coco_metrics


def there_and_back(analysis):
    return from_json(json.loads(json.dumps(to_json(analysis), allow_nan=False)))


@pytest.fixture(scope="module")
def real(shared):
    file = shared / "data" / "coco128" / "annotations" / "instances_val2017.json"
    ground_truth = json.loads(file.read_text())
    results = noisy_detections(ground_truth)
    before = copy.deepcopy((ground_truth, results))
    analysis = analyse(ground_truth, results)
    assert (ground_truth, results) == before, "an argument was changed"
    return ground_truth, results, analysis


def test_the_twelve_numbers_are_means_of_these(real):
    ground_truth, results, analysis = real
    metrics = coco_metrics(ground_truth, results)
    columns = {
        "AP": "ap", "AP50": "ap50", "AP75": "ap75", "AR100": "ar100",
        "APs": "ap_small", "APm": "ap_medium", "APl": "ap_large",
    }  # fmt: skip
    for name, column in columns.items():
        values = [getattr(row, column) for row in analysis.classes]
        values = [value for value in values if value is not None]
        assert np.mean(values) == pytest.approx(metrics[name], abs=1e-12), name
    for name, iou in {"AP": "0.50:0.95", "AP50": "0.5", "AP75": "0.75"}.items():
        curve = analysis.mean_precisions[iou]
        assert np.mean(curve) == pytest.approx(metrics[name], abs=1e-12), name
    for kind in analysis.errors.values():
        assert kind.ap50 - kind.delta_ap50 == pytest.approx(metrics["AP50"], abs=1e-12)
        assert kind.delta_ap50 >= 0
    for row, curve in zip(analysis.classes, analysis.precisions, strict=True):
        assert (curve is None) == (row.ap50 is None) == (row.objects == 0)
        if curve is not None:
            assert np.mean(curve) == pytest.approx(row.ap50, abs=1e-12)


def test_everything_is_of_the_same_matches(real):
    """Counts by class, by image, by score and of the confusion matrix at the operating point."""
    ground_truth, results, analysis = real
    matrix = np.array(analysis.confusion)
    right, objects = np.diag(matrix)[:-1], matrix.sum(axis=1)[:-1]
    detections = matrix.sum(axis=0)[:-1]
    real_ones = [a for a in ground_truth["annotations"] if not a["iscrowd"]]
    assert objects.sum() == len(real_ones)
    step = analysis.scores.index(analysis.score)
    for k, row in enumerate(analysis.classes):
        assert row.objects == objects[k]
        own = [a for a in real_ones if a["category_id"] == ground_truth["categories"][k]["id"]]
        assert row.images == len({a["image_id"] for a in own})
        if not objects[k]:
            assert row.recall is row.f1 is row.precision is analysis.f1_by_score[k] is None
            continue
        assert row.recall == analysis.recall_by_score[k][step] == right[k] / objects[k]
        assert row.precision == analysis.precision_by_score[k][step]
        assert row.precision == (right[k] / detections[k] if detections[k] else None)
        assert row.f1 == analysis.f1_by_score[k][step]
        assert row.f1 == 2 * right[k] / (objects[k] + detections[k])
    assert sum(row.matched for row in analysis.images) == right.sum()
    assert sum(row.missed for row in analysis.images) == objects.sum() - right.sum()
    assert sum(row.false for row in analysis.images) == detections.sum() - right.sum()
    histogram = analysis.score_histogram
    errors = analysis.errors
    assert sum(histogram.unmatched) == errors["false_positive"].count
    assert sum(histogram.matched) == objects.sum() - errors["false_negative"].count
    kinds = ("classification", "localisation", "both", "duplicate", "background")
    assert sum(errors[kind].count for kind in kinds) == errors["false_positive"].count
    assert 0 < sum(histogram.matched) < len(results)


def test_the_operating_point_is_that_of_the_highest_mean_f1(real):
    analysis = real[2]
    curves = [curve for curve in analysis.f1_by_score if curve is not None]
    np.testing.assert_allclose(analysis.mean_f1_by_score, np.mean(curves, axis=0))
    best = int(np.argmax(analysis.mean_f1_by_score))
    assert analysis.score == analysis.scores[best] == best / 100
    assert 0 < best < 100


def test_hand_worked():
    analysis = analyse(*one_of_each_kind(), score=0.35)
    assert (analysis.iou, analysis.background_iou, analysis.score) == (0.5, 0.1, 0.35)
    a, b = analysis.classes
    assert (a.name, a.objects, a.images) == ("a", 5, 5)
    assert (b.name, b.objects, b.images) == ("b", 1, 1)
    assert (a.precision, a.recall, a.f1) == pytest.approx((1 / 5, 1 / 5, 1 / 5))
    assert (b.precision, b.recall, b.f1) == (0, 0, 0)
    assert (a.ap_small, a.ap_medium) == pytest.approx((a.ap, None))
    rows = [(row.image_id, row.matched, row.missed, row.false) for row in analysis.images]
    assert rows == [
        (2, 0, 1, 1), (3, 0, 1, 1), (4, 0, 1, 1), (5, 0, 1, 1),  # F1 0, two errors
        (6, 0, 1, 0),  # F1 0, one error
        (1, 1, 0, 1),  # F1 2/3
    ]  # fmt: skip
    assert [row.f1 for row in analysis.images] == pytest.approx([0] * 5 + [2 / 3])
    assert analyse(*one_of_each_kind()).score == 0, "the lowest of equals"


@pytest.mark.parametrize("score", [None, 0.5])
def test_there_and_back(real, score):
    for ground_truth, results in (real[:2], random_case(0), one_of_each_kind()):
        analysis = analyse(ground_truth, results, score=score)
        assert there_and_back(analysis) == analysis


def test_nothing_detected():
    ground_truth, _ = random_case(0)
    analysis = analyse(ground_truth, [])
    assert there_and_back(analysis) == analysis
    assert [row.recall for row in analysis.classes] == [0, 0, 0, None]
    assert [row.precision for row in analysis.classes] == [None] * 4
    assert analysis.mean_precisions["0.5"] == [0] * 101
    assert analysis.calibration.expected_calibration_error is None
    assert {row.f1 for row in analysis.images} == {0}
    assert analysis.original.map50 == 0


def test_nothing_there():
    ground_truth, results = random_case(0)
    nothing_there = {**ground_truth, "annotations": []}
    for detections in (results, []):
        analysis = analyse(nothing_there, detections)
        assert there_and_back(analysis) == analysis
        assert analysis.mean_f1_by_score is None
        assert set(analysis.mean_precisions.values()) == {None}
        assert analysis.precisions == analysis.f1_by_score == [None] * 4
        assert analysis.errors["missed"].ap50 is None
        assert np.array(analysis.confusion)[:-1].sum() == 0
        assert sum(row.false for row in analysis.images) == len(detections)


def test_no_images_and_no_categories():
    analysis = analyse({"images": [], "categories": [], "annotations": []}, [])
    assert there_and_back(analysis) == analysis
    assert analysis.classes == analysis.images == []


def test_images_of_unknown_size():
    analysis = analyse(truth(box(7, [0, 0, 10, 10])), [box(7, [0, 0, 10, 10], score=0.5)])
    assert analysis.original.map50 == pytest.approx(0.995, abs=0.001)
    assert there_and_back(analysis) == analysis


def test_bad_input():
    with pytest.raises(InputError, match="a detection has image_id 9"):
        analyse(truth(), [box(9, [0, 0, 1, 1], score=0.5)])
    value = to_json(analyse(truth(), []))
    value["orignal"] = value.pop("original")
    with pytest.raises(InputError, match=r"no analysis as .*original.*evaluate again"):
        from_json(value)
    with pytest.raises(InputError, match="no analysis"):
        from_json({**to_json(analyse(truth(), [])), "classes": [{"name": "a"}]})
