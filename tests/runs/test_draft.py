"""Recipes that leave settings to the data: what is open, what is given, and what is said of it."""

import dataclasses

import pytest

from tests.support import coco_folder
from yolor_jax.cli import train as command
from yolor_jax.cli.main import main
from yolor_jax.cli.recipes import read_draft, read_recipe
from yolor_jax.configs import base, own
from yolor_jax.errors import InputError
from yolor_jax.preparation.dataset import find_splits
from yolor_jax.runs import draft
from yolor_jax.runs.draft import PROVISIONAL, decide
from yolor_jax.runs.opening import load
from yolor_jax.runs.own_rules import RULES
from yolor_jax.runs.run_evaluation import RunEvaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten images of 64 x 48 pixels with a box each to train on, four to evaluate on."""
    folder = tmp_path_factory.mktemp("data") / "pets"
    coco_folder.write(folder, images=10, split="train")
    other = coco_folder.write(folder.with_name("other"), images=4, split="valid")
    (other / "valid").rename(folder / "valid")
    name = "annotations/instances_valid.json"
    (other / name).rename(folder / name)
    return folder


def settings(folder, *more):
    return [f"--config.data.path={folder}", f"--config.data.prepared={folder}-prepared", *more]


def test_every_open_setting_has_a_rule_and_a_provisional_value():
    drafted = draft.read_draft(own.get_config().to_dict())
    splits = {draft.TRAIN_SPLIT, draft.EVAL_SPLIT}
    assert drafted.open == PROVISIONAL.keys() == RULES.keys() | splits


def test_the_data_decide_what_is_open(folder):
    decided = decide(read_draft("own", settings(folder)))
    recipe = decided.recipe
    assert (recipe.data.train_split, recipe.data.eval_split) == ("train", "valid")
    assert (recipe.model.name, recipe.batch_size, recipe.data.max_targets) == ("yolor_nano", 8, 8)
    assert recipe.epochs == 1600  # of one step
    assert recipe.loss_for(3).classification == pytest.approx(0.3)
    assert decided.said.startswith(
        "10 images, 64 pixels long; 3 classes; up to 1 box on an image, one in twenty smaller than"
    )
    assert "--config.image_size=128 --config.batch_size=8 --config.epochs=1600.0" in decided.said


def test_what_is_given_stays_and_is_not_spoken_of(folder):
    given = ["--config.image_size=64", "--config.epochs=10.0", "--config.data.eval_split=train"]
    decided = decide(read_draft("own", settings(folder, *given)))
    recipe = decided.recipe
    assert (recipe.image_size, recipe.epochs, recipe.eval.every_epochs) == (64, 10.0, 2.0)
    assert recipe.data.eval_split == "train"
    assert not any(flag in decided.said for flag in given)


def test_the_same_data_decide_the_same_again(folder):
    first, second = (read_recipe("own", settings(folder)) for _ in range(2))
    assert first == second and first.identity() == second.identity()


def test_a_recipe_that_gives_all_opens_nothing():
    drafted = read_draft("quickstart", ["--config.data.path=not looked for"])
    assert decide(drafted) == (drafted.recipe, None)


def test_what_no_rule_decides_must_be_given():
    config = base.get_config().to_dict()
    with pytest.raises(InputError, match=r"--config.seed is None; expected a whole number"):
        draft.read_draft({**config, "seed": None})


def test_a_wrong_setting_is_found_before_the_data_are_opened():
    with pytest.raises(InputError, match=r"eval.patience is -1; expected 0 or more"):
        read_draft("own", ["--config.data.path=not looked for", "--config.eval.patience=-1"])


def test_data_without_a_split_to_train_on(tmp_path):
    folder = coco_folder.write(tmp_path / "pets", split="val")
    with pytest.raises(InputError, match=r"has the splits val, and none of them is for training"):
        read_recipe("own", settings(folder))


def test_the_splits_of_the_built_in_shapes(tmp_path):
    for name in ("shapes", "shapes_night"):
        assert find_splits(name, tmp_path) == ["train", "validation"]


@pytest.mark.parametrize(
    ("words", "recipe", "workdir"),
    [
        ([], "quickstart", "runs/quickstart"),
        (["--data", "shapes"], "quickstart", "runs/quickstart"),
        (["--data", "shapes_night"], "quickstart", "runs/quickstart"),
        (["--data", "FOLDER"], "own", "runs/own"),
        (["coco128", "--data", "FOLDER"], "coco128", "runs/coco128"),
    ],
)
def test_the_recipe_of_data_is_own(words, recipe, workdir, folder, monkeypatch):
    begun = []
    monkeypatch.setattr(command, "train_and_report", lambda *args: begun.append(args))
    words = [str(folder) if word == "FOLDER" else word for word in words]
    prepared = f"--config.data.prepared={folder}-prepared"
    assert main(["train", *words, prepared]) == 0
    [(trained, where, _)] = begun
    path = [f"--config.data.path={words[-1]}"] if words else []
    assert dataclasses.asdict(trained) == read_recipe(recipe, [prepared, *path]).to_dict()
    assert str(where) == workdir


@pytest.mark.long
def test_a_run_of_own_data_ends_when_its_ap_no_longer_rises(folder, tmp_path, monkeypatch, capsys):
    scores = RunEvaluation.scores

    def falling(self, *args):
        evaluate = scores(self, *args)
        return lambda state: {**evaluate(state), "AP": 1 / int(state.step)}

    monkeypatch.setattr(RunEvaluation, "scores", falling)
    small = ["--config.model.name=yolor_test", "--config.image_size=64", "--config.epochs=5.0"]
    small += ["--config.eval.recalibrate=8"]
    prepared = f"--config.data.prepared={folder}-prepared"
    words = ["train", "--data", str(folder), "--workdir", str(tmp_path), prepared, *small]
    for first in (True, False):
        assert main([*words, "--config.eval.patience=2"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("10 images, 64 pixels long; 3 classes")
        assert "AP has not risen for 2 evaluations: the run ends at step 3 of 5" in out
        assert "its best is --step 1" in out
        assert ("continuing at step 3 of 5" in out) != first
        assert "yolor_test is trained" in out
    assert load(tmp_path).meta["exact_statistics"] == 8
    assert load(tmp_path / "checkpoints" / "1").meta["step"] == 1
