"""The original's own numbers: as it computed them, and hand-worked from COCO's format."""

import numpy as np
import pytest

from tests.support.coco_boxes import box, truth
from yolor_jax.evaluation.columns import Detections, Objects, read_detections, read_objects
from yolor_jax.evaluation.original_metrics import IOUS, area, matched, of_class, original_metrics


@pytest.fixture(scope="module")
def arrays(golden):
    return dict(np.load(golden / "metrics" / "metrics.npz"))


@pytest.mark.parametrize("case", "abc")
def test_by_class(arrays, case):
    tp, conf, predicted, target = (
        arrays[f"{case}_{name}"] for name in ("tp", "conf", "pred_cls", "target_cls")
    )
    order = np.argsort(-conf)
    tp, conf, predicted = tp[order], conf[order].astype(float), predicted[order]
    for row, label in enumerate(arrays[f"{case}_unique_classes"]):
        own = predicted == label
        p, r, f1, ap = of_class(tp[own], conf[own], int((target == label).sum()))
        for name, value in {"p": p, "r": r, "f1": f1, "ap": ap}.items():
            np.testing.assert_allclose(arrays[f"{case}_{name}"][row], value, atol=1e-9, rtol=0)


@pytest.mark.parametrize("number", range(4))
def test_area(arrays, number):
    recall, precision, ap = (
        arrays[f"compute_ap{number}_{name}"] for name in ("recall", "precision", "ap")
    )
    assert area(recall, precision) == pytest.approx(float(ap), abs=1e-9)


@pytest.mark.parametrize("number", range(4))
def test_matches(arrays, number):
    predictions, labels, (width, height), correct = (
        arrays[f"match{number}_{name}"] for name in ("pred", "labels", "wh", "correct")
    )
    np.testing.assert_allclose(IOUS, arrays["iouv"])
    size = np.float64([width, height])
    corners = predictions[:, :4].astype(float).reshape(-1, 2, 2).clip(0, size)
    centres, sides = labels[:, 1:3] * size, labels[:, 3:5] * size
    one_image = lambda rows: np.zeros(len(rows), int)  # noqa: E731
    objects = Objects(
        one_image(labels),
        labels[:, 0].astype(int),
        np.concatenate([centres - sides / 2, sides], axis=1),
        np.zeros(len(labels), bool),
    )
    detections = Detections(
        one_image(predictions),
        predictions[:, 5].astype(int),
        np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1),
        predictions[:, 4].astype(float),
    )
    np.testing.assert_array_equal(matched(objects, detections), correct)


def test_fitness(arrays):
    """Columns are P, R, mAP50, mAP."""
    weighted = 0.1 * arrays["fitness_in"][:, 2] + 0.9 * arrays["fitness_in"][:, 3]
    np.testing.assert_allclose(arrays["fitness_out"], weighted, atol=1e-9)


def numbers_of(ground_truth, results, size=(100, 100)):
    sizes = np.float64([size] * len(ground_truth["images"]))
    return original_metrics(
        read_objects(ground_truth), read_detections(ground_truth, results), sizes
    )


def test_hand_worked():
    """Class a: right (its box reaches out of the image, which is cut), then a second one on the
    same object, which loses, although another object overlaps it by half too. Class b: nothing.
    """
    ground_truth = truth(box(7, [90, 0, 10, 10]), box(7, [90, 0, 10, 6]), box(7, [0, 0, 9, 9], 3))
    results = [
        box(7, [90, 0, 30, 10], score=0.9),
        box(7, [90, 0, 10, 9], score=0.8),
    ]
    numbers = numbers_of(ground_truth, results)
    # At 0.1 the curves are at their ends: precision 1/2, recall 1/2; class b counts 0.
    assert numbers.precision == numbers.recall == pytest.approx(0.25)
    assert numbers.f1 == pytest.approx(0.25)
    # Precision 1 up to recall 1/2, then down the line to 0 at 1 from 1/2 at 1/2.
    grid = np.linspace(0, 1, 101)
    ap = np.trapezoid(np.interp(grid, [0, 0.5, 0.5, 1], [1, 1, 0.5, 0]), grid) / 2
    assert numbers.map50 == pytest.approx(ap)
    assert numbers.map == pytest.approx(numbers.map50), "IoU 1"
    assert numbers.fitness == pytest.approx(0.1 * numbers.map50 + 0.9 * numbers.map)
    uncut = numbers_of(ground_truth, results, size=(np.inf, np.inf))
    assert uncut.map50 > 0, "the second box is right now"
    assert uncut.map < uncut.map50


def test_an_iou_of_a_half_is_not_enough_and_claims_nothing():
    ground_truth = truth(box(7, [0, 0, 10, 10]))
    half = box(7, [0, 0, 10, 5], score=0.9)
    more = box(7, [0, 0, 10, 5.1], score=0.8)
    assert numbers_of(ground_truth, [half]).map50 == 0
    assert numbers_of(ground_truth, [more]).map50 > 0.9
    assert numbers_of(ground_truth, [half, more]).map50 > 0.4


def test_crowds_are_no_objects():
    there = [0, 0, 10, 10]
    ground_truth = truth(box(7, there), box(7, [50, 50, 10, 10], iscrowd=1))
    results = [box(7, [50, 50, 10, 10], score=0.9), box(7, there, score=0.8)]
    numbers = numbers_of(ground_truth, results)
    assert (numbers.precision, numbers.recall) == pytest.approx((0.5, 1.0))


def test_nothing_detected_and_nothing_there():
    assert set(vars(numbers_of(truth(), [])).values()) == {None}
    nothing = numbers_of(truth(box(7, [0, 0, 1, 1])), [])
    assert set(vars(nothing).values()) == {0.0}
    wrong = [box(7, [0, 0, 1, 1], score=0.5)]
    assert set(vars(numbers_of(truth(), wrong)).values()) == {None}
