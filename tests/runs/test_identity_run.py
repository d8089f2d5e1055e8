"""A run that learns whose the objects are, from end to end, on the smallest network."""

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.small_recipe import small_recipe, train, typed
from yolor_jax.cli.train import opening
from yolor_jax.errors import InputError
from yolor_jax.evaluation.tasks import IDENTITY_NUMBERS
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.preparation import films, shapes
from yolor_jax.runs import run as runs
from yolor_jax.runs import start
from yolor_jax.runs.opening import load
from yolor_jax.training.checkpoints.loading import load_trained
from yolor_jax.training.learner import learner
from yolor_jax.training.mesh import make_mesh
from yolor_jax.training.metrics import read_json_lines
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.store import save_variables


def config_of(data):
    config = small_recipe(data)
    config.model.tasks = ("classify", "embed")
    config.task_loss.identities = "classifier"
    config.task_loss.weights = "learnt"
    config.epochs = 1.0
    return config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    sizes = {"train": 16, "validation": 16}
    return films.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    train(config_of(data), workdir)
    return workdir


@pytest.mark.long
def test_losses_learn_and_numbers_are_there(finished):
    rows = read_json_lines(finished / "metrics.jsonl")
    assert all(np.isfinite(row["loss/total"]) and row["loss/embed"] > 0 for row in rows)
    for name, _ in IDENTITY_NUMBERS[:3]:
        assert 0 <= rows[-1][f"eval/{name}"] <= 1
    assert 0 <= rows[-1]["eval/embed/detected"] <= 1


@pytest.mark.long
def test_state_has_what_losses_learn_and_the_network_has_not(finished):
    trained = flatten_by_path(load_trained(finished)[0]["params"])
    learnt = {path for path in trained if path.startswith("task_loss/")}
    assert len(learnt) == 5 and all(np.asarray(trained[path]).any() for path in learnt)
    network = load(finished)
    assert set(flatten_by_path(network.variables["params"])) == set(trained) - learnt
    folded = flatten_by_path(fold(network.spec, network.variables))
    assert not any("task_loss" in path for path in folded)


@pytest.mark.long
def test_it_goes_on_with_them(finished, data):
    before, _ = load_trained(finished)
    config = config_of(data)
    train(config, finished)  # at its end: restored, and evaluated anew
    after, _ = load_trained(finished)
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_a_classifier_needs_identities(tmp_path):
    plain = shapes.prepare(tmp_path, sizes={"train": 8, "validation": 2}, progress=False)
    with pytest.raises(InputError, match=r"have 0 identities; expected two or more.*contrast"):
        runs.open_run(typed(config_of(plain)), tmp_path / "run")


def test_a_number_that_the_data_cannot_give_is_not_what_is_best(tmp_path):
    plain = shapes.prepare(tmp_path, sizes={"train": 8, "validation": 2}, progress=False)
    config = config_of(plain)
    config.task_loss.identities, config.eval.best_by = "contrast", "embed/recall1"
    with pytest.raises(InputError, match=r"best_by is 'embed/recall1', and .*has no identities"):
        runs.open_run(typed(config), tmp_path / "run")
    config.eval.best_by = "embed/rank1"
    assert runs.open_run(typed(config), tmp_path / "run")


def test_freezing_reaches_the_weights_of_tasks(data, tmp_path):
    config = config_of(data)
    config.optim.freeze = "^task_loss/log_variance"
    run = runs.open_run(typed(config), tmp_path / "run")
    assert run.learner.weighed and ", 3 of them frozen" in opening(run)
    config.task_loss.weights = "fixed"
    with pytest.raises(InputError, match="matches no parameter"):
        runs.open_run(typed(config), tmp_path / "run")


def test_a_network_of_detection_alone_starts_one_of_many_tasks(data, tmp_path):
    module = build("yolor_test", 6)
    given = random_leaves(variable_shapes(module))
    meta = {
        "model": "yolor_test", "implicit": None, "num_classes": 6, "class_names": list("abcdef"),
        "image_size": 64, "fused": False,
    }  # fmt: skip
    save_variables(tmp_path / "alone.safetensors", given, meta)
    config = config_of(data)
    config.init = str(tmp_path / "alone.safetensors")
    recipe, said = typed(config), []
    trained = learner(recipe.network(6), recipe.task_loss, 7)
    first = start.first_state(recipe, trained, recipe.length(16), make_mesh(), said.append)
    ours = flatten_by_path(jax.device_get(first.params))
    theirs = flatten_by_path(given["params"])
    for path, leaf in theirs.items():
        np.testing.assert_array_equal(ours[path], leaf, path)
    fresh = {path.partition("/")[0] for path in ours if path not in theirs}
    assert fresh == {"classify", "embed", "task_loss"}
    assert "embed " in said[0] and "params/task_loss/identities/kernel " in said[0]
