import json

import numpy as np
import pytest

from yolor_jax.detection import anchors


@pytest.fixture(scope="module")
def stored(golden):
    arrays = dict(np.load(golden / "anchors" / "anchors.npz"))
    return arrays, json.loads((golden / "anchors" / "anchors.json").read_text())


def sizes_at(arrays, image_size, scale=1.0):
    """Sizes of the stored data set's boxes, the longest side of every image being image_size."""
    shapes_wh = arrays["shapes_wh"]
    shapes_wh = image_size * shapes_wh / shapes_wh.max(axis=1, keepdims=True) * scale
    return np.repeat(shapes_wh, arrays["labels_count"], axis=0) * arrays["labels_flat"][:, 3:]


def test_hand_worked():
    sizes_wh = np.array([[10.0, 10], [20, 10], [10, 50], [100, 100]])
    anchors_wh = np.array([[10.0, 10], [20, 20]])
    ratio = anchors.ratio_metric(sizes_wh, anchors_wh)
    np.testing.assert_allclose(ratio, [[1, 0.5], [0.5, 0.5], [0.2, 0.4], [0.1, 0.2]])
    fit = anchors.measure(sizes_wh, anchors_wh)
    assert fit == pytest.approx((3 / 4, 5 / 4, (1 + 0.5 + 0.4) / 4))
    # A ratio of exactly 1 / threshold does not match, as in the assignment.
    fit = anchors.measure(sizes_wh, anchors_wh, ratio_threshold=2)
    assert fit == pytest.approx((1 / 4, 1 / 4, 1 / 4))


@pytest.mark.parametrize("name", ["csp", "p6"])
def test_measures_equal_golden(stored, name):
    arrays, facts = stored
    fit = anchors.measure(arrays["wh"], arrays[f"anchors_{name}"])
    facts_wh, facts_check = facts[f"{name}_wh"], facts[f"{name}_check_anchors"]
    expected = facts_wh["bpr"], facts_wh["aat"], facts_wh["fitness"]
    np.testing.assert_allclose(fit, expected, rtol=0, atol=1e-6)
    sizes_wh = sizes_at(arrays, facts_check["img_size"], arrays["scale_draws"])
    fit = anchors.measure(sizes_wh, arrays[f"anchors_{name}"])
    np.testing.assert_allclose(fit[:2], [facts_check["bpr"], facts_check["aat"]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [9, 12])
def test_found_anchors_are_as_good_as_golden(stored, number):
    arrays, facts = stored
    facts = facts[f"kmeans{number}"]
    sizes_wh = sizes_at(arrays, facts["img_size"])
    found_wh = anchors.find_anchors(sizes_wh, number, seed=0)
    fit = anchors.measure(sizes_wh, found_wh)
    assert found_wh.shape == (number, 2) and (np.diff(found_wh.prod(axis=1)) >= 0).all()
    assert fit.fitness > facts["fitness"]
    assert fit.best_possible_recall > facts["bpr"] - 0.005


def test_same_seed_same_anchors_and_evolution_helps(stored):
    sizes_wh = sizes_at(stored[0], 640)
    start, some, again, other = (
        anchors.find_anchors(sizes_wh, 6, seed=seed, generations=generations)
        for seed, generations in [(1, 0), (1, 60), (1, 60), (2, 60)]
    )
    np.testing.assert_array_equal(some, again)
    assert not np.array_equal(some, other)
    before, after = (anchors.measure(sizes_wh, found).fitness for found in (start, some))
    assert after > before


def test_k_means_finds_clear_clusters():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    points = (centres[:, None] + 0.1 * rng.normal(size=(4, 50, 2))).reshape(-1, 2)
    found = anchors.k_means(points, 4, rng)
    nearest = np.linalg.norm(found[:, None] - centres[None], axis=-1).argmin(axis=0)
    np.testing.assert_allclose(found[nearest], centres, atol=0.1)


def test_small_and_equal_boxes():
    """Boxes below two pixels do not count; equal ones give that size and no division by zero."""
    sizes_wh = np.concatenate([np.full((20, 2), 1.9), np.full((5, 2), [30.0, 40])])
    found_wh = anchors.find_anchors(sizes_wh, 3, seed=0, generations=5)
    np.testing.assert_allclose(found_wh, np.full((3, 2), [30, 40]), rtol=0.5)
    assert anchors.measure(np.full((1, 2), [30.0, 40]), found_wh).fitness == pytest.approx(1)


@pytest.mark.parametrize(
    ("sizes_wh", "message"),
    [
        (np.zeros((0, 2)), "got 0 boxes, expected at least 1"),
        (np.ones((9, 2)), "got 0 boxes, expected at least 3"),
        (np.array([[3.0, 4], [0, 5], [6, 7]]), "not finite and positive"),
        (np.array([[3.0, 4], [np.nan, 5], [6, 7]]), "not finite and positive"),
    ],
)
def test_mistakes_are_named(sizes_wh, message):
    with pytest.raises(ValueError, match=message):
        anchors.find_anchors(sizes_wh, 3, seed=0)
