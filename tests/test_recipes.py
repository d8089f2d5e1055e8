"""Every recipe with every model it is for: checked, described and sized without compiling."""

import importlib
import json

import jax
import pytest

from configs import base
from yolor_jax.cli import recipe
from yolor_jax.models.detector import variable_shapes
from yolor_jax.models.zoo import MODELS

COCO_IMAGES = 118_287
# Gains of box, objectness and class, and whether the model sees 1280 pixels.
RECIPES = {
    "coco640": ((0.05, 0.7, 0.3), 640),
    "coco1280": ((0.05, 1.0, 0.5), 1280),
}
ORIGINALS = {
    "yolor_p6_paper": "paper__yolor-p6",
    "yolor_w6_paper": "paper__yolor-w6",
    "yolor_e6": "paper__yolor-e6",
    "yolor_d6": "paper__yolor-d6",
    "yolor_ssss_s2d": "paper__yolor-ssss-s2d",
    "yolor_ssss_dwt": "paper__yolor-ssss-dwt",
}


def get_config(name, *row):
    return importlib.import_module(f"configs.{name}").get_config(*row)


PAIRS = [
    (name, model)
    for name, (_, size) in RECIPES.items()
    for model in MODELS
    if MODELS[model].image_size == size
]


def test_every_model_has_a_recipe():
    assert {model for _, model in PAIRS} == set(MODELS)


@pytest.mark.parametrize(("name", "model"), PAIRS)
def test_a_recipe_trains_its_model(name, model, golden):
    config = get_config(name, model)
    recipe.check(config)
    gains, size = RECIPES[name]
    assert config.image_size == size
    assert recipe.model_spec(config) == MODELS[model]
    run = recipe.run_length(config, COCO_IMAGES)
    assert run.steps_per_epoch == COCO_IMAGES // 64
    assert run.total_steps == run.steps_per_epoch * (150 if name == "finetune1280" else 300)
    loss = recipe.loss_config(config, 80)
    assert (loss.box, loss.objectness, loss.classification) == pytest.approx(gains)
    assert recipe.loss_config(config, 20).classification == pytest.approx(gains[2] / 4)
    leaves = jax.tree.leaves(variable_shapes(recipe.detector(config, 80))["params"])
    file = golden / "models" / f"{ORIGINALS.get(model, f'main__{model}')}.json"
    if file.exists():
        assert sum(leaf.size for leaf in leaves) == json.loads(file.read_text())["num_params"]
    else:
        assert model in ("yolov4_csp_fast", "yolov4_p6_light", "yolor_nano", "yolor_test")


def test_the_gains_are_the_original_s(golden):
    cases = json.loads((golden / "losses" / "cases.json").read_text())
    for name, case in (("coco640", "nl3_nc80_unique"), ("coco1280", "nl4_nc80_unique")):
        hyp = cases[case]["hyp"]
        assert RECIPES[name][0] == (hyp["box"], hyp["obj"], hyp["cls"])


@pytest.mark.parametrize(
    ("name", "model", "sentence"),
    [
        ("coco640", "yolor_p6", r"no model 'yolor_p6' for 640 pixels; expected one of yolor_csp, "),
        ("coco1280", "yolor_csp", "no model 'yolor_csp' for 1280 pixels; .* yolor_p6, yolor_w6"),
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
