"""Recipes as runs of other days stored them: they are read, and mean the same run.

`NAME.json` is the ``config.json`` of a run, `NAME.identity.json` what its checkpoints say of it.
The ``older_N`` are of runs that were started before some of the settings existed.
"""

import json
import pathlib

import pytest

from yolor_jax.configs import quickstart
from yolor_jax.errors import InputError
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
    identity = recipe.load(as_run(tmp_path, name)).identity()
    expected = json.loads((STORED / f"{name}.identity.json").read_text())
    assert json.loads(json.dumps(identity)) == expected


@pytest.mark.parametrize("name", OLDER)
def test_a_recipe_without_later_settings_means_what_it_did(name, tmp_path):
    older = recipe.load(as_run(tmp_path, name))
    config = quickstart.get_config()
    config.epochs, config.eval.every_epochs = 8.0, 4.0  # as the quickstart was then
    config.loss.box, config.optim.learning_rate = 0.05, 5e-3
    assert older.to_dict() == recipe.read(config.to_dict()).to_dict()


@pytest.mark.parametrize("name", [*NAMES, *OLDER])
def test_a_recipe_that_is_written_again_is_the_same(name, tmp_path):
    first = recipe.load(as_run(tmp_path, name))
    recipe.save(first, tmp_path)
    assert recipe.load(tmp_path) == first


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"batch_size": "8"}, "--config.batch_size is '8'; expected a whole number"),
        ({"batch_size": True}, "--config.batch_size is True; expected a whole number"),
        ({"tensorboard": 1}, "--config.tensorboard is 1; expected True or False"),
        ({"epochs": "8"}, "--config.epochs is '8'; expected a number"),
        ({"epochs": float("inf")}, "--config.epochs is inf; expected a finite number"),
        ({"multi_scale": [64, "96"]}, r"--config.multi_scale is \[64, '96'\]; expected a list of"),
        ({"data": 3}, "--config.data is 3; expected a section of settings"),
        ({"augmnt": {}}, "there is no setting augmnt"),
        ({"seed": -1}, r"--config.seed is -1; expected 0 .. 2\*\*32 - 1"),
    ],
    ids=str,
)
def test_a_setting_of_another_type_is_refused_and_not_coerced(change, sentence):
    settings = quickstart.get_config().to_dict() | change
    with pytest.raises(InputError, match=sentence):
        recipe.read(settings)


@pytest.mark.parametrize(
    ("section", "change", "sentence"),
    [
        ("optim", {"momentum": 2.0}, r"momentum is 2.0: .* \(a setting of --config.optim\)$"),
        ("augment", {"max_targets": -1}, r"max_targets=-1; .*\(a setting of --config.augment\)$"),
        ("data", {"threads": 0}, r"^--config.data.threads is 0; expected more than 0$"),
    ],
)
def test_a_value_of_no_use_is_named_with_its_section(section, change, sentence):
    settings = quickstart.get_config().to_dict()
    settings[section] |= change
    with pytest.raises(InputError, match=sentence):
        recipe.read(settings)


def test_a_setting_that_is_missing_is_named():
    settings = quickstart.get_config().to_dict()
    del settings["eval"]["nms"]["iou_threshold"]
    with pytest.raises(InputError, match=r"the setting eval.nms.iou_threshold is missing"):
        recipe.read(settings)


def test_changes_give_another_recipe_that_is_checked():
    first = recipe.read(quickstart.get_config().to_dict())
    other = first.with_changes(batch_size=16, data={"path": "elsewhere"})
    assert (other.batch_size, other.data.path, other.data.threads) == (16, "elsewhere", 16)
    assert (first.batch_size, first.data.path) == (8, "shapes")
    with pytest.raises(InputError, match="batch_size is 0; expected more than 0"):
        first.with_changes(batch_size=0)
