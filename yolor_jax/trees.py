"""Parameter trees addressed by path: every leaf has a name such as ``backbone/stem/conv/kernel``.

Parameter paths are public: optimiser groups, weight import, freezing and inspection of implicit
knowledge all select leaves by a regular expression over them. Nothing here touches a device.

    groups = label_by_path(params, [(r"implicit", "implicit"), (r"", "rest")])
    implicit = select(params, r"implicit")  # {'head/level0/implicit_before/z': Array, ...}
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from yolor_jax.errors import InputError

PyTree = Any


def flatten_by_path(tree: PyTree) -> dict[str, Any]:
    """All leaves of a tree by their path, in the order of ``jax.tree.leaves``.

    Args:
        tree: any pytree; keys of dictionaries, field names and positions become parts of the path.

    Returns:
        ``{'a/b/c': leaf}``.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def label_by_path(tree: PyTree, rules: Sequence[tuple[str, str]]) -> PyTree:
    """Gives every leaf the label of the first rule whose regular expression is found in its path.

    Args:
        tree: any pytree.
        rules: pairs of (regular expression, label), tried in order with ``re.search``.

    Returns:
        A tree of the same structure whose leaves are the labels.

    Raises:
        InputError: no rule matches a leaf; the message names all such leaves.
    """
    # No default label: a parameter that no rule thought of would silently get some optimiser.
    compiled = [(re.compile(regex), label) for regex, label in rules]
    labels = []
    unlabelled = []
    for path in flatten_by_path(tree):
        label = next((label for regex, label in compiled if regex.search(path)), None)
        labels.append(label)
        if label is None:
            unlabelled.append(path)
    if unlabelled:
        raise InputError(
            f"{len(unlabelled)} leaves match none of the rules {[regex for regex, _ in rules]}: "
            f"{unlabelled}. Add a rule for them."
        )
    return jax.tree.unflatten(jax.tree.structure(tree), labels)


def select(tree: PyTree, regex: str) -> dict[str, Any]:
    """The leaves whose path contains a match of a regular expression.

    Args:
        tree: any pytree.
        regex: searched for in each path with ``re.search``.

    Returns:
        ``{'a/b/c': leaf}``, empty if nothing matches.
    """
    pattern = re.compile(regex)
    return {path: leaf for path, leaf in flatten_by_path(tree).items() if pattern.search(path)}


def replace(tree: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """A new tree with some leaves replaced; the counterpart of `select`.

    Args:
        tree: any pytree; it is not changed.
        leaves: ``{'a/b/c': leaf}``, of the shapes and dtypes that are there.

    Returns:
        A tree of the same structure.

    Raises:
        InputError: if there is no leaf of such a path, or it has another shape or dtype.
    """
    old = flatten_by_path(tree)
    wrong = [
        sentence
        for path, leaf in leaves.items()
        for sentence in differences({path: leaf}, {path: old[path]} if path in old else {})
    ]
    if wrong:
        raise InputError("; ".join(wrong))
    new = [leaves.get(path, leaf) for path, leaf in old.items()]
    return jax.tree.unflatten(jax.tree.structure(tree), new)


def require_finite(tree: PyTree, where: str) -> None:
    """Raises an InputError that names the leaves in which a number is NaN or infinite.

    Args:
        tree: of NumPy arrays.
        where: it comes from, for the message.
    """
    named = [path for path, leaf in flatten_by_path(tree).items() if not np.isfinite(leaf).all()]
    if named:
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        raise InputError(
            f"{where}: NaN or infinite numbers in {', '.join(named[:3])}{more}; take weights from "
            "before they became so, or write them anew in float32"
        )


def differences(got: PyTree, expected: PyTree) -> list[str]:
    """What must change in ``got`` to have the paths, shapes and dtypes of ``expected``.

    Args:
        got: a tree of arrays or of ``jax.ShapeDtypeStruct``.
        expected: the same.

    Returns:
        One sentence for each missing, unused or unequal leaf; empty if the trees agree.
    """
    got_leaves = flatten_by_path(got)
    expected_leaves = flatten_by_path(expected)
    sentences = []
    for path, leaf in expected_leaves.items():
        shape, dtype = _shape_and_dtype(leaf)
        if path not in got_leaves:
            sentences.append(f"{path} is missing: expected {dtype}{list(shape)}")
            continue
        got_shape, got_dtype = _shape_and_dtype(got_leaves[path])
        if got_shape != shape:
            sentences.append(f"{path} has shape {list(got_shape)}: expected {list(shape)}")
        if got_dtype != dtype:
            sentences.append(f"{path} has dtype {got_dtype}: expected {dtype}")
    for path, leaf in got_leaves.items():
        if path not in expected_leaves:
            shape, dtype = _shape_and_dtype(leaf)
            sentences.append(f"{path} is unused: got {dtype}{list(shape)}, expected no such leaf")
    return sentences


def _shape_and_dtype(leaf: Any) -> tuple[tuple[int, ...], str]:
    """Shape and name of the dtype of an array, a Python number or a ``ShapeDtypeStruct``."""
    if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return tuple(leaf.shape), str(leaf.dtype)
