"""``yolor eval``: each data set and split has a file of boxes of its own."""

import dataclasses

import pytest

from tests.support.small_recipe import small_recipe, typed
from yolor_jax.cli.evaluate import boxes_file

OF_THE_RUN = typed(small_recipe("data/pets")).data


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "detections"),
        ({"path": "data/other"}, "detections_other_validation"),
        ({"eval_split": "test"}, "detections_pets_test"),
    ],
)
def test_where_the_boxes_go(tmp_path, changes, name):
    data = dataclasses.replace(OF_THE_RUN, **changes)
    assert boxes_file(tmp_path, data, OF_THE_RUN) == tmp_path / f"{name}.json"
    weights = tmp_path / "w.safetensors"
    weights.touch()
    assert boxes_file(weights, data, OF_THE_RUN) == tmp_path / f"w.{name}.json"
