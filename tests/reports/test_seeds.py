"""Runs that differ by their seed alone are one group; mean and deviation by hand."""

import dataclasses
import pathlib

import pytest

from tests.support.small_recipe import small_recipe, typed
from yolor_jax.evaluation.analysis import analyse
from yolor_jax.reports.gather import Left, Subject
from yolor_jax.reports.seeds import by_recipe, spread

NOTHING = analyse({"images": [], "categories": [], "annotations": []}, [])


def subject(name, *, step=10, data="coco", **changes):
    recipe = typed(small_recipe("data")).with_changes(**changes)
    record = {"data": data, "split": "val", "step": step, "mode": {}}
    left = Left(pathlib.Path(), record, NOTHING)
    path = pathlib.Path(name)
    return Subject(path, path, recipe, [], [], [left], None, {}, {}, [])


def groups(*subjects):
    return [
        (group.name, [one.name for one in group.subjects])
        for group in by_recipe(subjects, [one.name for one in subjects])
    ]


def test_only_the_seed_may_differ():
    assert groups(
        subject("a"),
        subject("b", seed=1, log_every=7),  # how often it is logged decides nothing
        subject("c", seed=2, epochs=3.0),
        subject("d", seed=3, step=20),
        subject("e", seed=4, data="other"),
        subject("f", seed=5),
    ) == [("a (3 seeds)", ["a", "b", "f"]), ("c", ["c"]), ("d", ["d"]), ("e", ["e"])]


def test_what_has_no_recipe_or_no_evaluation_stands_alone():
    lone = dataclasses.replace(subject("a"), recipe=None)
    blind = dataclasses.replace(subject("b"), evaluations=[])
    assert groups(lone, blind, dataclasses.replace(blind, path=pathlib.Path("c"))) == [
        ("a", ["a"]), ("b", ["b"]), ("c", ["c"])
    ]  # fmt: skip


def test_spread_by_hand():
    """1, 2 and 6: mean 3, variance (4 + 1 + 9) / 2 = 7."""
    assert spread([1.0, None, 2.0, 6.0]) == (3.0, *map(pytest.approx, ((7 / 3) ** 0.5, 3, 7**0.5)))
    assert spread([0.5]) == (0.5, None, 1, None)
    assert spread([None]) is None and spread([]) is None
