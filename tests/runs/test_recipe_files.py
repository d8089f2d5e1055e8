"""Recipes by name in Python: the same as on the command line, changed by values."""

import pytest

import yolor_jax
from tests.support import coco_folder
from yolor_jax.cli.recipes import read_recipe
from yolor_jax.errors import InputError
from yolor_jax.runs import recipe_files


@pytest.mark.parametrize("name", ["quickstart", "coco640:yolor_ssss_s2d", "ablations:add_iFA"])
def test_it_is_that_of_the_command_line(name):
    assert yolor_jax.recipe(name) == read_recipe(name, [])


def test_changes_are_those_of_the_command_line():
    words = ["--config.epochs=1.5", "--config.data.path=x", "--config.multi_scale=(96,128)",
             "--config.model.implicit={}", "--config.optim.freeze=^backbone/"]  # fmt: skip
    changes = {"data": {"path": "x"}, "model": {"implicit": {}}, "optim": {"freeze": "^backbone/"}}
    made = yolor_jax.recipe("quickstart", epochs=1.5, multi_scale=[96, 128], **changes)
    assert made == read_recipe("quickstart", words)
    assert yolor_jax.recipe("quickstart").epochs != 1.5  # a recipe is read anew each time


def test_a_section_within_a_section_keeps_its_other_settings():
    """And what is one setting, although a dictionary, is replaced whole."""
    words = ["--config.eval.nms.max_candidates=64", "--config.eval.batch_size=4",
             "--config.model.implicit={'alignment': 'add'}", "--config.init=runs/x"]  # fmt: skip
    changes = {"eval": {"nms": {"max_candidates": 64}, "batch_size": 4}, "init": "runs/x"}
    made = yolor_jax.recipe("implicit_tuning", model={"implicit": {"alignment": "add"}}, **changes)
    assert made == read_recipe("implicit_tuning", words)
    assert made.model.implicit == {"alignment": "add"}  # the recipe has a refinement too


def test_what_is_left_to_the_data_is_decided(tmp_path):
    folder = coco_folder.write(tmp_path / "data", split="train")
    data = {"path": str(folder), "prepared": str(tmp_path / "made")}
    made = yolor_jax.recipe("own", data=data, image_size=64)
    assert (made.image_size, made.batch_size, made.data.train_split) == (64, 4, "train")
    assert made.data.eval_split == "train"  # there is no other


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from yolor_jax.configs import quickstart\n"
        "def get_config(row='small'):\n"
        "    config = quickstart.get_config()\n"
        "    config.epochs = {'small': 1.0, 'large': 9.0}[row]\n"
        "    return config\n"
    )
    assert yolor_jax.recipe(str(file)).epochs == 1.0
    assert yolor_jax.recipe(f"{file}:large").epochs == 9.0
    with pytest.raises(InputError, match=r"mine.py:huge: 'huge'; rows are chosen as RECIPE:ROW"):
        yolor_jax.recipe(f"{file}:huge")
    file.write_text("")
    with pytest.raises(InputError, match=r"mine.py is no recipe; expected a function get_config"):
        yolor_jax.recipe(str(file))


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("nothing", {}, "no recipe 'nothing'; expected one of ablations"),
        ("quickstart:row", {}, "takes 0 positional arguments"),
        ("coco640:none", {}, "no model 'none' for 640 pixels"),
        ("quickstart", {"epoch": 3}, "there is no setting epoch "),
        ("quickstart", {"data": {"paths": "x"}}, r"there is no setting data\.paths"),
        ("quickstart", {"data": 3}, "data is 3; expected a section of settings"),
        ("quickstart", {"eval": {"nms": 3}}, r"eval\.nms is 3; expected a section of settings"),
        ("quickstart", {"eval": {"nms": {"iou": 3}}}, r"there is no setting eval\.nms\.iou "),
        ("quickstart", {"epochs": "many"}, "epochs is 'many'; expected a number"),
    ],
)
def test_what_there_is_not(name, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        yolor_jax.recipe(name, **changes)


def test_defaults_are_those_of_base():
    assert recipe_files.defaults().data.eval_split == "val2017"
