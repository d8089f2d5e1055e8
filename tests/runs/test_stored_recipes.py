"""Recipes as runs of other days stored them: they are read, and mean the same run.

`NAME.json` is the ``config.json`` of a run, `NAME.identity.json` what its checkpoints say of it.
The ``older_N`` are of runs that were started before some of the settings existed.
"""

import json
import pathlib

import pytest

from configs import base
from yolor_jax.runs import recipe

STORED = pathlib.Path(__file__).parent / "stored_recipes"
NAMES = sorted(p.name.removesuffix(".identity.json") for p in STORED.glob("*.identity.json"))
OLDER = sorted(p.stem for p in STORED.glob("older_*.json"))


def as_run(tmp_path, name):
    """A workdir with a stored recipe."""
    (tmp_path / "config.json").write_text((STORED / f"{name}.json").read_text())
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_recipe_keeps_the_identity_of_its_run(name, tmp_path):
    config = recipe.load(as_run(tmp_path, name))
    expected = json.loads((STORED / f"{name}.identity.json").read_text())
    assert json.loads(json.dumps(recipe.identity(config))) == expected


@pytest.mark.parametrize("name", OLDER)
def test_a_recipe_without_later_settings_is_read(name, tmp_path):
    config = recipe.load(as_run(tmp_path, name), base.get_config())
    assert recipe.tasks(config) == () and recipe.anchors(config) is None
    assert recipe.multi_scale_sizes(config) == ()
    assert recipe.model_spec(config).name == "yolor_nano"
    assert recipe.optim_config(config).learning_rate == 0.005
