"""COCO's curves: the same as pycocotools' by class, IoU and size, on real images."""

import json

import numpy as np
import pytest

from tests.support.coco_boxes import box, noisy_detections, truth
from yolor_jax.evaluation import coco_curves as library
from yolor_jax.evaluation.analysis import analyse
from yolor_jax.evaluation.coco import BACKENDS, coco_metrics, prepared
from yolor_jax.evaluation.coco_curves import ALL, LARGE, SMALL, coco_curves, compare


def by_pycocotools(ground_truth, results):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    halves = []
    for dataset in prepared(ground_truth, results):
        halves.append(COCO())
        halves[-1].dataset = dataset
        halves[-1].createIndex()
    evaluator = COCOeval(*halves, iouType="bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    curves = evaluator.eval["precision"][..., -1], evaluator.eval["recall"][..., -1]
    return [np.where(curve < 0, np.nan, curve) for curve in curves]


def test_as_by_pycocotools_on_real_images(shared, capfd):
    file = shared / "data" / "coco128" / "annotations" / "instances_val2017.json"
    ground_truth = json.loads(file.read_text())
    results = noisy_detections(ground_truth)
    ours = coco_curves(ground_truth, results)
    assert capfd.readouterr() == ("", "")
    for curve, expected in zip(ours, by_pycocotools(ground_truth, results), strict=True):
        np.testing.assert_allclose(curve, expected, atol=1e-12, rtol=0)
    shuffled = {**ground_truth, "categories": ground_truth["categories"][::-1]}
    for curve, other in zip(ours, coco_curves(shuffled, results), strict=True):
        np.testing.assert_array_equal(curve[..., ::-1, :], other)


def test_hand_worked():
    """Class b has one small object, found at every IoU; class a a large one, found up to 0.80."""
    ground_truth = truth(box(7, [0, 0, 100, 100]), box(7, [0, 0, 10, 10], 3))
    results = [box(7, [0, 0, 100, 82], score=0.9), box(7, [0, 0, 10, 10], 3, score=0.8)]
    curves = coco_curves(ground_truth, results)
    ap = curves.precision.mean(axis=(0, 1))  # [K, sizes]
    np.testing.assert_allclose(ap[:, ALL], [0.7, 1.0])
    np.testing.assert_allclose(ap[:, SMALL], [np.nan, 1.0])
    np.testing.assert_allclose(ap[:, LARGE], [0.7, np.nan])
    np.testing.assert_allclose(curves.recall[:, :, ALL], [[1, 1]] * 7 + [[0, 1]] * 3)


@pytest.mark.parametrize("results", [[], [box(7, [0, 0, 1, 1], score=0.5)]])
def test_nothing_there(results):
    curves = coco_curves(truth(), results)
    assert curves.precision.shape == (10, 101, 2, 4) and curves.recall.shape == (10, 2, 4)
    assert np.isnan(curves.precision).all() and np.isnan(curves.recall).all()


def test_one_pass_gives_numbers_and_curves(shared, monkeypatch):
    """To the bit those of a pass for each; what is known is not compared again."""
    file = shared / "data" / "coco128" / "annotations" / "instances_val2017.json"
    ground_truth = json.loads(file.read_text())
    results = noisy_detections(ground_truth)
    passes = []
    evaluator = library.faster_evaluator
    monkeypatch.setattr(
        library, "faster_evaluator", lambda *given: passes.append(given) or evaluator(*given)
    )
    metrics, curves = compare(ground_truth, results)
    assert len(passes) == 1
    analysis = analyse(ground_truth, results, curves=curves)
    assert len(passes) == 1
    assert metrics == coco_metrics(ground_truth, results)
    for curve, expected in zip(curves, coco_curves(ground_truth, results), strict=True):
        np.testing.assert_array_equal(curve, expected)
    assert analysis == analyse(ground_truth, results)
    assert len(passes) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_of_any_library(backend):
    ground_truth = truth(box(7, [0, 0, 100, 100]), box(7, [0, 0, 10, 10], 3))
    results = [box(7, [0, 0, 100, 82], score=0.9)]
    metrics, curves = compare(ground_truth, results, backend=backend)
    assert metrics == coco_metrics(ground_truth, results, backend=backend)
    assert (curves is None) == (backend != "faster-coco-eval")
