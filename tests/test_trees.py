"""Paths, labels, selection and differences of trees, against hand-written lists."""

import flax.struct
import jax
import numpy as np
import pytest

from yolor_jax import trees


@flax.struct.dataclass
class Pair:
    left: object
    right: object


TREE = {
    "unit": {"conv": {"kernel": np.zeros((3, 3, 2, 4), np.float32)}, "bn": [np.ones(4), None]},
    "head": Pair(left={"implicit_before": {"z": np.zeros(2)}}, right=(np.float32(1.0), 2)),
}


def test_flatten_by_path_names_dictionaries_fields_and_positions():
    assert list(trees.flatten_by_path(TREE)) == [
        "head/left/implicit_before/z",
        "head/right/0",
        "head/right/1",
        "unit/bn/0",
        "unit/conv/kernel",
    ]
    leaves = trees.flatten_by_path(TREE).values()
    assert all(a is b for a, b in zip(leaves, jax.tree.leaves(TREE), strict=True))
    assert trees.flatten_by_path({}) == {}


def test_label_by_path_first_rule_wins():
    labels = trees.label_by_path(TREE, [("implicit", "i"), (r"^head/", "h"), ("kernel$|bn", "u")])
    assert jax.tree.structure(labels) == jax.tree.structure(TREE)
    assert labels["head"].left["implicit_before"]["z"] == "i"
    assert labels["head"].right == ("h", "h")
    assert labels["unit"] == {"conv": {"kernel": "u"}, "bn": ["u", None]}


def test_label_by_path_names_every_unlabelled_leaf():
    with pytest.raises(ValueError, match=r"2 leaves .*'head/right/0', 'head/right/1'.*Add a rule"):
        trees.label_by_path(TREE, [("implicit", "i"), ("unit", "u")])


def test_select():
    assert list(trees.select(TREE, r"implicit|kernel$")) == [
        "head/left/implicit_before/z",
        "unit/conv/kernel",
    ]
    assert trees.select(TREE, "nothing") == {}


def test_differences():
    assert trees.differences(TREE, TREE) == []
    shapes = jax.eval_shape(lambda: {"a": jax.numpy.zeros((2, 3)), "b": jax.numpy.zeros(4)})
    got = {
        "a": np.zeros((3, 2), np.float32),
        "c": np.zeros(1, np.int32),
        "b": np.zeros(4, np.float16),
    }
    assert trees.differences(got, shapes) == [
        "a has shape [3, 2]: expected [2, 3]",
        "b has dtype float16: expected float32",
        "c is unused: got int32[1], expected no such leaf",
    ]
    assert trees.differences({}, {"a": shapes["a"]}) == ["a is missing: expected float32[2, 3]"]
