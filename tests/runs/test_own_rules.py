"""The rules by which data decide settings, on data that were counted by hand."""

import pytest

from tests.support import coco_folder
from tests.support.small_recipe import typed
from yolor_jax.configs import quickstart
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.runs import own_rules
from yolor_jax.runs.own_rules import Facts, facts_of

BCCD = Facts(images=205, classes=3, objects=28, long_side=640.0, small=42 / 640)


def recipe(**changes):
    return typed(quickstart.get_config()).with_changes(**changes)


def facts(**changes):
    return BCCD._replace(**changes)


def test_facts_are_those_of_the_images(tmp_path):
    def fill(coco, image_dir):
        """Boxes of 16 x 4 pixels, three of them on the first of four images of 64 x 48."""
        boxes = [coco_folder.box_entry(n, max(n - 2, 1), bbox=(2, 2, 16, 4)) for n in range(1, 6)]
        crowd = coco_folder.box_entry(9, 4, bbox=(0, 0, 60, 40), iscrowd=1)
        coco["annotations"] = [*boxes, crowd]

    folder = coco_folder.write(tmp_path / "data", split="train", edit=fill)
    source = open_dataset(folder, "train", tmp_path / "prepared", progress=False)
    found = facts_of(source)
    assert found == Facts(
        images=4, classes=3, objects=3, long_side=64.0, small=pytest.approx(1 / 8)
    )


def test_images_without_a_box_have_facts_too(tmp_path):
    folder = coco_folder.write(
        tmp_path / "data", split="train", edit=lambda coco, _: coco.update(annotations=[])
    )
    source = open_dataset(folder, "train", tmp_path / "prepared", progress=False)
    found = facts_of(source)
    assert found == Facts(images=4, classes=3, objects=0, long_side=64.0, small=0.0)
    assert own_rules.image_size(found, recipe()) == 128
    assert own_rules.max_targets(found, recipe()) == 8


@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({}, 416),  # 42 of 640 pixels shall be 28: 427
        ({"small": 0.25}, 128),  # 112: 128 is the least
        ({"small": 0.01}, 640),  # 2,800: 640 is the most
        ({"small": 0.01, "long_side": 300.0}, 288),  # no more than the images have
        ({"small": 0.0}, 640),
    ],
)
def test_the_size_follows_from_small_boxes_and_images(changes, pixels):
    assert own_rules.image_size(facts(**changes), recipe()) == pixels


def test_a_size_is_a_multiple_of_the_stride_of_the_model_that_was_given():
    p6 = recipe(model={"name": "yolor_p6"}, image_size=1280)
    assert own_rules.image_size(facts(small=0.05), p6) % 64 == 0


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs"),
    [
        (10, 8, 1600),  # one step an epoch
        (200, 8, 64),  # 1,600 steps, 25 in an epoch
        (800, 8, 32),  # twice as many steps
        (5000, 8, 13),  # 8,000 steps, 625 in an epoch: 12.8
        (3, 3, 1600),
    ],
)
def test_epochs_give_steps_that_grow_with_the_root_of_the_images(images, batch_size, epochs):
    given = recipe(batch_size=batch_size)
    assert own_rules.epochs(facts(images=images), given) == epochs


def test_weights_to_start_from_make_it_shorter_and_slower(monkeypatch):
    monkeypatch.setattr(own_rules, "load_meta", lambda path: {"model": "yolor_test"})
    given = recipe(init="runs/other", batch_size=8)
    assert own_rules.model_name(BCCD, given) == "yolor_test"
    assert own_rules.epochs(facts(images=200), given) == 22  # 533 steps, 25 in an epoch
    assert own_rules.learning_rate(BCCD, given) < own_rules.learning_rate(BCCD, recipe())
    assert own_rules.model_name(BCCD, recipe()) == "yolor_nano"


def test_batches_are_no_larger_than_the_data():
    assert own_rules.batch_size(BCCD, recipe()) == 8
    assert own_rules.batch_size(facts(images=5), recipe()) == 5


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_the_gain_of_classes_is_that_of_the_original_for_any_number(classes):
    gain = own_rules.classification(facts(classes=classes), recipe())
    assert recipe(loss={"classification": gain}).loss_for(classes).classification == pytest.approx(
        0.3
    )


def test_what_is_given_counts_in_the_rules_behind_it():
    assert own_rules.every_epochs(BCCD, recipe(epochs=10.0)) == 2.0
    few = facts(images=48)  # six steps of eight an epoch; 1,602 in all: every 321, 320.4 rounded up
    assert own_rules.every_epochs(few, recipe(epochs=267.0)) == 321 / 6
    assert own_rules.epochs(facts(images=200), recipe(batch_size=16)) == 134
    assert own_rules.max_targets(facts(objects=28), recipe()) == 32
