"""Every recipe with every model it is for, and the way of its options to loss and optimiser."""

import dataclasses
import functools
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import golden_losses, tiny_run
from tests.support.small_recipe import typed
from yolor_jax.cli.recipes import read_recipe
from yolor_jax.configs import base
from yolor_jax.detection.losses import detection_loss
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs import programs
from yolor_jax.runs.run import open_run, require_init
from yolor_jax.training.optim import RunLength

COCO_IMAGES = 118_287
# Gains of box, objectness and class, and whether the model sees 1280 pixels.
RECIPES = {
    "coco640": ((0.05, 0.7, 0.3), 640),
    "coco1280": ((0.05, 1.0, 0.5), 1280),
    "finetune1280": ((0.05, 1.0, 0.5), 1280),
}
# Translation, scale (as in the golden cases p_scratch640 and p_scratch1280) and mixup.
AUGMENTATIONS = {
    "coco640": (0.1, 0.9, 0.0),
    "coco1280": (0.5, 0.5, 0.0),
    "finetune1280": (0.5, 0.8, 0.2),
}
# The small models of coco640 have gains of their own (golden/trajectory, "hyper"), and a scale.
SMALL_GAINS, SMALL_SCALE = (0.05, 1.0, 0.5), 0.5
ORIGINALS = {
    "yolor_p6_paper": "paper__yolor-p6",
    "yolor_w6_paper": "paper__yolor-w6",
    "yolor_e6": "paper__yolor-e6",
    "yolor_d6": "paper__yolor-d6",
    "yolor_ssss_s2d": "paper__yolor-ssss-s2d",
    "yolor_ssss_dwt": "paper__yolor-ssss-dwt",
}


def get_config(name, *row):
    return importlib.import_module(f"yolor_jax.configs.{name}").get_config(*row)


PAIRS = [
    (name, model)
    for name, (_, size) in RECIPES.items()
    for model in MODELS
    if MODELS[model].image_size == size
]


def test_every_model_has_a_recipe():
    assert {model for _, model in PAIRS} == set(MODELS)


@functools.cache  # two recipes train the models of 1280 pixels
def parameters(model):
    """Their number."""
    leaves = jax.tree.leaves(variable_shapes(build(model, 80))["params"])
    return sum(leaf.size for leaf in leaves)


@pytest.mark.parametrize(("name", "model"), PAIRS)
def test_a_recipe_trains_its_model(name, model, golden):
    config = get_config(name, model)
    typed(config)
    gains, size = RECIPES[name]
    translate, scale, mixup = AUGMENTATIONS[name]
    if model.startswith("yolor_ssss"):
        gains, scale = SMALL_GAINS, SMALL_SCALE
    assert config.image_size == size
    assert typed(config).spec == MODELS[model]
    run = typed(config).length(COCO_IMAGES)
    assert run.steps_per_epoch == COCO_IMAGES // 64
    assert run.total_steps == run.steps_per_epoch * (150 if name == "finetune1280" else 300)
    loss = typed(config).loss_for(80)
    assert (loss.box, loss.objectness, loss.classification) == pytest.approx(gains)
    assert typed(config).loss_for(20).classification == pytest.approx(gains[2] / 4)
    augment = typed(config).augment
    assert (augment.translate, augment.scale, augment.mixup) == (translate, scale, mixup)
    assert augment.mosaic == 1.0
    module = typed(config).network(80)
    assert module.dtype == jnp.bfloat16
    file = golden / "models" / f"{ORIGINALS.get(model, f'main__{model}')}.json"
    if file.exists():
        assert parameters(model) == json.loads(file.read_text())["num_params"]
    else:
        assert model in ("yolov4_csp_fast", "yolov4_p6_light", "yolor_nano", "yolor_test")


def test_fine_tuning_needs_weights_to_start_from(tmp_path):
    recipe = read_recipe("finetune1280:yolor_w6", ["--config.data.path=not looked for"])
    with pytest.raises(InputError, match=r"--config.init is missing: expected the workdir"):
        open_run(recipe, tmp_path)
    recipe = read_recipe("finetune1280:yolor_w6", ["--config.init=runs/w6"])
    require_init(recipe)
    assert (recipe.model.name, recipe.init) == ("yolor_w6", "runs/w6")
    assert recipe.identity()["init"] == "runs/w6"
    require_init(typed(get_config("coco1280")))  # from scratch


def test_scratch_augmentation_is_the_original_s(golden):
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["perspective"]
    kwargs = {case["name"]: case["kwargs"] for case in cases}
    for name, case in (("coco640", "p_scratch640"), ("coco1280", "p_scratch1280")):
        augment = typed(get_config(name)).augment
        for field in ("degrees", "translate", "scale", "shear", "perspective"):
            assert getattr(augment, field) == kwargs[case][field]


def test_the_gains_are_the_original_s(golden):
    cases = json.loads((golden / "losses" / "cases.json").read_text())
    for name, case in (("coco640", "nl3_nc80_unique"), ("coco1280", "nl4_nc80_unique")):
        hyp = cases[case]["hyp"]
        assert RECIPES[name][0] == (hyp["box"], hyp["obj"], hyp["cls"])


def test_the_gains_of_small_models_are_the_original_s(golden):
    hyp = json.loads((golden / "trajectory" / "ssss_s2d.json").read_text())["hyper"]
    assert SMALL_GAINS == (hyp["box"], hyp["obj"], hyp["cls"])


@pytest.mark.parametrize(
    "name", ["nl3_nc3_unique_focal", "nl3_nc3_unique_posweight", "nl3_nc3_unique_gr05"]
)
def test_options_of_the_loss_reach_it(golden, name):
    """Set in a recipe as the original's hyper-parameters, they give the original's loss."""
    case = golden_losses.load(golden / "losses", name)
    hyp = case.facts["hyp"]
    config = get_config("coco640")
    config.loss.class_pos_weight, config.loss.objectness_pos_weight = hyp["cls_pw"], hyp["obj_pw"]
    config.loss.focal_gamma, config.loss.iou_objectness = hyp["fl_gamma"], case.facts["gr"]
    loss = jax.jit(
        functools.partial(
            detection_loss,
            **case.static | {"config": typed(config).loss_for(case.facts["nc"])},
        )
    )
    got, terms = loss(*jax.tree.map(jnp.asarray, (case.predictions, *case.targets)))
    np.testing.assert_allclose(got, case.stored["loss_max"][0], rtol=2e-6)
    names = ("box", "objectness", "classification", "total")
    np.testing.assert_allclose([terms[n] for n in names], case.stored["items_max"], rtol=2e-6)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("loss", "label_smoothing", 0.1),
        ("loss", "ratio_threshold", 3.0),
        ("optim", "optimizer", "adamw"),
        ("optim", "freeze", "^backbone/"),
        ("optim", "clip_norm", 10.0),
        ("optim", "lag_one_epoch", True),
        ("optim", "drop_gradients_at_epoch_start", True),
    ],
)
def test_other_options_reach_their_part(part, name, value):
    config = get_config("coco640", "yolor_ssss_dwt")
    config.optim.warmup_bias_learning_rate = 0.0

    def options():
        recipe = typed(config)
        return recipe.loss_for(80) if part == "loss" else recipe.optim

    before = options()
    config[part][name] = value
    assert options() == dataclasses.replace(before, **{name: value}) != before


def test_the_last_epochs_do_without_mosaic_and_mixup(monkeypatch):
    """Two of five epochs of three steps: from step 9 on."""
    config = get_config("coco640")
    config.close_mosaic = 2.0
    told, batch = [], tiny_run.make_batch(8)

    def augment(key, batch, settings, *, composing):
        told.append(bool(composing))
        return batch

    monkeypatch.setattr(programs, "augment", augment)
    run = RunLength(batch_size=8, steps_per_epoch=3, total_steps=15)
    at_step = programs.augmentation(typed(config), run)
    for step in range(15):
        at_step(jax.random.key(0), batch, jnp.int32(step))
    assert told == [True] * 9 + [False] * 6


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("focal_gamma", -1.0, "focal_gamma of the loss is -1.0: expected 0.0 to inf"),
        ("label_smoothing", 1.5, "label_smoothing of the loss is 1.5: expected 0.0 to 1.0"),
        ("iou_objectness", 2.0, "iou_objectness of the loss is 2.0: expected 0.0 to 1.0"),
        ("ratio_threshold", 0.5, "ratio_threshold of the loss is 0.5: expected 1.0 to inf"),
        ("box", float("nan"), "--config.loss.box is nan; expected a finite number"),
    ],
)
def test_numbers_of_the_loss_out_of_range(name, value, sentence):
    config = get_config("coco640")
    config.loss[name] = value
    with pytest.raises(ValueError, match=sentence):
        typed(config)


@pytest.mark.parametrize(
    ("name", "model", "sentence"),
    [
        ("coco640", "yolor_p6", r"no model 'yolor_p6' for 640 pixels; expected one of yolor_csp, "),
        ("coco1280", "yolor_csp", "no model 'yolor_csp' for 1280 pixels; .* yolor_p6, yolor_w6"),
        ("finetune1280", "yolor_csp", "no model 'yolor_csp' for 1280 pixels"),
        ("coco640", "yolor_cps", "no model 'yolor_cps' for 640 pixels"),
    ],
)
def test_a_model_of_another_size_is_refused(name, model, sentence):
    with pytest.raises(ValueError, match=sentence):
        get_config(name, model)


@pytest.mark.parametrize("size", [640, 1280])
def test_all_models_that_fit_are_listed(size):
    with pytest.raises(ValueError) as caught:
        base.model_at(size, "none")
    listed = str(caught.value).partition("one of ")[2].split(", ")
    assert listed == [name for name in MODELS if MODELS[name].image_size == size]
