"""Thresholds are moved without the network: the same boxes as when it is run for each of them."""

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.saved_run import META
from yolor_jax.demo.finder import Finder, found_by_one
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.runs.found import Found
from yolor_jax.runs.trained import Trained

CLASSES = META["class_names"]


@pytest.fixture(scope="module")
def trained():
    """A network with random leaves that finds something everywhere, at all scores."""
    module = build("yolor_test", len(CLASSES))
    variables = random_leaves(variable_shapes(module))
    for unit in variables["params"]["head"].values():
        unit["conv"]["kernel"] = 3 * unit["conv"]["kernel"]
    return Trained(module.spec, variables, META)


@pytest.fixture(scope="module")
def finder(trained):
    return Finder(trained)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 256, size, np.uint8) for size in ((64, 64, 3), (90, 41, 3), (5, 300, 3))
    ]


@pytest.mark.parametrize(
    ("score", "iou", "classes"),
    [
        (0.25, 0.45, None),
        (0.01, 0.65, None),
        (0.0, 1.0, None),
        (0.3, 0.1, ["dog"]),
        (0.9, 0.0, [0, 2]),
    ],
)
def test_boxes_are_those_of_a_predictor_with_these_thresholds(
    trained, finder, images, score, iou, classes
):
    predictor = trained.predictor(score=score, iou=iou, classes=classes)
    labels = [CLASSES.index(one) if isinstance(one, str) else one for one in classes or ()]
    number = 0
    for image in images:
        [expected] = predictor(image)
        found = finder.find(finder.look(image), score=score, iou=iou, classes=labels)
        for name in ("boxes_xyxy", "scores", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
        assert found.names == expected.names
        number += len(found)
    assert number > 20 or score == 0.9


def test_one_compilation_for_all_thresholds_and_classes(finder, images):
    from yolor_jax.demo import finder as module

    seen = finder.look(images[0])
    finder.find(seen, score=0.5, iou=0.5)
    compiled = module._suppressed._cache_size()
    for score, iou, classes in ((0.1, 0.2, [1]), (0.9, 0.8, []), (0.0, 1.0, [0, 2])):
        finder.find(seen, score=score, iou=iou, classes=classes)
    assert module._suppressed._cache_size() == compiled


def test_without_implicit_knowledge(trained, finder, images):
    """The oracle: the leaves set to 0 where they are added and to 1 where they multiply."""
    by_hand = jax.tree_util.tree_map_with_path(neutral, trained.variables)
    expected = Trained(trained.spec, by_hand, META).predictor(score=0.1)
    number = 0
    for image in images:
        without = finder.look(image, implicit=False)
        found, given = (
            finder.find(one, score=0.1, iou=0.45) for one in (without, finder.look(image))
        )
        [by_predictor] = expected(image)
        np.testing.assert_array_equal(found.boxes_xyxy, by_predictor.boxes_xyxy)
        np.testing.assert_array_equal(found.scores, by_predictor.scores)
        assert not np.array_equal(found.scores, given.scores)
        number += len(found)
    assert number


def neutral(path, leaf):
    """A leaf of a network whose alignment is added and whose refinement multiplies."""
    where = jax.tree_util.keystr(path)
    if "implicit_" not in where:
        return leaf
    return np.full_like(leaf, "implicit_after" in where)


def test_a_folded_network_has_none_to_take_out(trained, images):
    folded = trained.folded()
    finder = Finder(folded)
    assert not finder.has_implicit and Finder(trained).has_implicit
    with pytest.raises(InputError, match="no implicit knowledge"):
        finder.look(images[0], implicit=False)
    found = finder.find(finder.look(images[0]), score=0.25, iou=0.45)
    [expected] = folded.predictor()(images[0])
    np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)


@pytest.mark.parametrize("thresholds", [{"score": 1.5, "iou": 0.5}, {"score": 0.5, "iou": -0.1}])
def test_thresholds_outside_are_refused(finder, images, thresholds):
    with pytest.raises(InputError, match="expected thresholds of 0"):
        finder.find(finder.look(images[0]), **thresholds)


def found_at(*boxes_and_labels):
    boxes = np.array([box for box, _ in boxes_and_labels], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in boxes_and_labels], np.int32)
    return Found(boxes, np.full(len(labels), 0.5, np.float32), labels, tuple(CLASSES), (1, 2, 3))


def test_found_by_one_of_two():
    ours = found_at(([0, 0, 10, 10], 0), ([50, 50, 60, 60], 1), ([20, 20, 30, 30], 2))
    theirs = found_at(([0, 0, 10, 10], 1), ([50, 50, 60, 59], 1), ([20, 20, 30, 26], 2))
    assert found_by_one(ours, theirs).tolist() == [True, False, False]
    assert found_by_one(theirs, ours).tolist() == [True, False, False]
    assert found_by_one(ours, found_at()).tolist() == [True] * 3
    assert found_by_one(found_at(), ours).tolist() == []
