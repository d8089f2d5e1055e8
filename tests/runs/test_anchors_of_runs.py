"""Anchors against the data before a run: a warning, a search, and what carries them afterwards."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.small_recipe import typed
from yolor_jax.configs import quickstart
from yolor_jax.data import objects
from yolor_jax.data.sources import Source, open_source
from yolor_jax.data.targets import targets_path
from yolor_jax.detection.anchors import find_anchors, measure
from yolor_jax.models.anchors import by_level, with_anchors
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.preparation import shapes
from yolor_jax.runs import anchors, recipe, training
from yolor_jax.runs.evaluation import of_network
from yolor_jax.runs.opening import load
from yolor_jax.runs.run import open_run
from yolor_jax.weights.store import save_variables

ABSURD = [[[2.0, 90.0]] * 3, [[300.0, 3.0]] * 3, [[200.0, 200.0]] * 3]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    sizes = {"train": 60, "validation": 1}
    directory = shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)
    return open_source(directory, "train")


@pytest.fixture
def config():
    return quickstart.get_config()


def sizes_by_hand(source, image_size):
    """Width and height of every box in its letterboxed image, from the COCO annotations."""
    truth = source.ground_truth()
    longest = {image["id"]: max(image["height"], image["width"]) for image in truth["images"]}
    return np.array(
        [
            np.array(a["bbox"][2:]) * image_size / longest[a["image_id"]]
            for a in truth["annotations"]
            if not a["iscrowd"]
        ]
    )


def test_good_anchors_are_silent_and_no_image_is_read(source, config, monkeypatch):
    monkeypatch.delattr(Source, "__getitem__")
    assert anchors.warning(typed(config), source) is None


def test_absurd_anchors_are_told_with_better_ones(source, config):
    config.model.anchors = ABSURD
    said = anchors.warning(typed(config), source)
    sizes_wh = sizes_by_hand(source, config.image_size)
    recall = measure(sizes_wh, np.array(ABSURD).reshape(-1, 2)).best_possible_recall
    assert 0.05 < recall < 0.5
    assert f"match only {recall:.1%} of the {len(sizes_wh):,} training boxes at 128 pixels" in said
    assert "--config.model.anchors=auto" in said
    found = json.loads(said.partition('--config.model.anchors="')[2].rstrip('"'))
    better = measure(sizes_wh, np.array(found).reshape(-1, 2)).best_possible_recall
    assert better > 0.98 and f"match {better:.1%}" in said
    config.model.anchors = found
    assert anchors.warning(typed(config), source) is None
    assert said.count("\n") == 0 and anchors.warning(typed(config), source) is None


def test_the_threshold_is_that_of_the_loss(source, config):
    config.loss.ratio_threshold = 1.05
    said = anchors.warning(typed(config), source)
    found = find_anchors(
        sizes_by_hand(source, config.image_size), 9, seed=config.seed, ratio_threshold=1.05
    )
    assert f'--config.model.anchors="{by_level(found, 3)}"' in said


def test_no_anchors_can_be_found(source, config, monkeypatch):
    config.model.anchors = ABSURD
    few = objects.all_objects(source)
    few = few._replace(
        **{name: getattr(few, name)[:4] for name in ("image", "boxes_xyxy", "labels")}
    )
    monkeypatch.setattr(anchors, "some_objects", lambda *args, **kwargs: few)
    assert "too few boxes to find other anchors" in anchors.warning(typed(config), source)
    none = few._replace(
        **{name: getattr(few, name)[:0] for name in ("image", "boxes_xyxy", "labels")}
    )
    monkeypatch.setattr(anchors, "some_objects", lambda *args, **kwargs: none)
    assert anchors.warning(typed(config), source) is None


def test_anchors_that_are_no_better_are_not_offered(source, config, monkeypatch):
    config.model.anchors = ABSURD
    monkeypatch.setattr(anchors, "find_anchors", lambda *args, **kwargs: np.full((9, 2), 9e4))
    assert "match no more" in anchors.warning(typed(config), source)


def test_a_large_split_without_a_sidecar_is_read_in_part(source, config, tmp_path, monkeypatch):
    bare = tmp_path / "shapes"
    shutil.copytree(source.directory, bare)
    targets_path(bare, "train").unlink()
    monkeypatch.setattr(anchors, "MOST_IMAGES", 10)
    monkeypatch.setattr(anchors, "MOST_BOXES", 12)
    config.model.anchors = ABSURD
    said = anchors.warning(typed(config), open_source(bare, "train"))
    number = int(said.partition(" of the ")[2].partition(" ")[0])
    assert 12 < number < len(source.targets.labels) / 3
    assert "Anchors found for these data match" in said


def test_the_golden_data_set(golden):
    """The original's check on its synthetic data, with the enlargements that it drew."""
    z = np.load(golden / "anchors" / "anchors.npz")
    facts = json.loads((golden / "anchors" / "anchors.json").read_text())["csp_check_anchors"]
    sizes_hw = z["shapes_wh"][:, ::-1].astype(np.int32)
    image = np.repeat(np.arange(len(sizes_hw)), z["labels_count"])
    wh = (z["labels_flat"][:, 3:] * z["shapes_wh"][image]).astype(np.float32)
    given = objects.Objects(
        image,
        np.concatenate([np.zeros_like(wh), wh], axis=1),
        np.zeros(len(wh), np.int32),
        sizes_hw,
    )
    draws = z["scale_draws"][image]
    sizes_wh = objects.network_sizes(given, facts["img_size"]) * draws
    fit = measure(sizes_wh, z["anchors_csp"].astype(np.float64))
    np.testing.assert_allclose(fit[:2], [facts["bpr"], facts["aat"]], atol=1e-6, rtol=0)


def test_auto_finds_once_and_stays_with_the_run(source, config, tmp_path):
    given = typed(config).spec
    config.model.anchors = "auto"
    asked = typed(config)
    assert asked.spec == given
    used, said = anchors.resolved(asked, source, tmp_path)
    found = used.model.anchors
    assert [list(map(list, level)) for level in used.spec.anchors] == found != given.anchors
    assert said == f"anchors found for these data: {found}" and asked.model.anchors == "auto"
    assert anchors.resolved(asked, source, tmp_path)[0] == used
    # In the workdir of a run they are those of the run, whatever would be found today.
    recipe.save(asked.with_changes(model={"anchors": ABSURD}), tmp_path)
    assert anchors.resolved(asked, source, tmp_path)[0].model.anchors == ABSURD


def test_other_settings_are_not_touched(source, config, tmp_path):
    for value in (None, ABSURD):
        config.model.anchors = value
        assert anchors.resolved(typed(config), source, tmp_path) == (typed(config), None)


def test_a_run_warns_before_it_starts(config, source, tmp_path):
    config.data.path = str(source.directory)
    config.data.eval_split = "validation"
    config.batch_size = 8
    config.model.anchors = ABSURD
    config.augment.partners = "dataset"
    run = open_run(typed(config), tmp_path / "run")
    [misfit, idle] = run.notes
    assert "warning: the anchors of yolor_nano match only" in misfit
    assert "warning: augment.partners is 'dataset', which has no effect" in idle
    assert run.module.spec == with_anchors(MODELS["yolor_nano"], ABSURD)
    config.model.anchors = "auto"
    config.augment.mosaic = 1.0
    run = open_run(typed(config), tmp_path / "run")
    [said] = run.notes
    assert said == f"anchors found for these data: {run.recipe.model.anchors}"
    assert run.module.spec == run.recipe.spec != MODELS["yolor_nano"]
    assert not (tmp_path / "run").exists()


def test_weights_of_other_anchors_to_start_from():
    given, spec = with_anchors(MODELS["yolor_test"], ABSURD), MODELS["yolor_test"]
    head = ["params/backbone/stem/conv/kernel", "params/head/level0/conv/kernel"]
    said = anchors.difference(given, spec, head)
    assert json.loads(said.partition('--config.model.anchors="')[2].rstrip('"')) == ABSURD
    assert anchors.difference(given, given, head) is None
    # A head that starts anew takes nothing of theirs.
    assert anchors.difference(given, spec, head[:1]) is None


@pytest.mark.parametrize("given", [None, ABSURD])
def test_what_a_checkpoint_says_of_itself(source, config, tmp_path, given):
    config.data.path = str(source.directory)
    config.model.anchors = given
    meta = training._meta(open_run(typed(config), tmp_path))
    assert meta.get("anchors") == given and ("anchors" in meta) == (given is not None)
    json.dumps(meta)


def test_a_file_of_weights_carries_them(config, tmp_path):
    spec = with_anchors(MODELS["yolor_test"], ABSURD)
    variables = random_leaves(variable_shapes(build(spec, 6)))
    meta = {
        "model": "yolor_test", "implicit": None, "anchors": ABSURD, "num_classes": 6,
        "class_names": list("abcdef"), "image_size": 64, "fused": False,
    }  # fmt: skip
    path = tmp_path / "some.safetensors"
    save_variables(path, variables, meta)
    opened = load(path)
    assert opened.spec == opened.module.spec == spec
    folded = opened.folded()
    save_variables(path, folded.variables, folded.meta)
    assert load(path).module.spec == spec
    fitted = of_network(typed(config), load(path))
    assert fitted.network(6, fused=True).spec == spec
    older = {name: value for name, value in meta.items() if name != "anchors"}
    save_variables(path, variables, older)
    assert load(path).spec == MODELS["yolor_test"]
    images = np.zeros((1, 64, 64, 3), np.float32)
    shapes_of = jax.eval_shape(folded.module.apply, folded.variables, images)
    assert shapes_of.detect[0].shape == (1, 8, 8, 3, 11)


def test_by_level_and_numbers_per_level():
    found = by_level(np.arange(12.0).reshape(6, 2) + 0.123, 3)
    assert found == [[[0.1, 1.1], [2.1, 3.1]], [[4.1, 5.1], [6.1, 7.1]], [[8.1, 9.1], [10.1, 11.1]]]
    spec = with_anchors(MODELS["yolor_test"], found)
    assert spec.anchors[2] == ((8.1, 9.1), (10.1, 11.1))
    assert with_anchors(spec, None) == spec
    assert dataclasses.replace(spec, anchors=MODELS["yolor_test"].anchors) == MODELS["yolor_test"]


@pytest.mark.parametrize(
    "wrong",
    [
        "atuo",
        7,
        [],
        ABSURD[:2],
        [*ABSURD[:2], [[1, 2]]],
        [[], [], []],
        [[[1, 2, 3]]] * 3,
        [[[1, 0]]] * 3,
        [[[1, float("inf")]]] * 3,
        [[["a", 1]]] * 3,
    ],
    ids=str,
)
def test_wrong_anchors_get_a_sentence(config, wrong):
    config.model.anchors = wrong
    with pytest.raises(
        ValueError, match=r"the anchors of yolor_nano are .*; expected for each of its 3"
    ):
        typed(config)
