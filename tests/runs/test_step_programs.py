"""The programs of a recipe: every setting that changes them reaches them."""

import jax
import pytest

from tests.support import tiny_run
from tests.support.small_recipe import typed
from yolor_jax.configs import quickstart
from yolor_jax.runs import programs
from yolor_jax.training import mesh as meshes
from yolor_jax.training import step
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import abstract_state

RUN = RunLength(8, 2, 4)


@pytest.fixture
def config():
    config = quickstart.get_config()
    config.model.name = "yolor_test"
    config.image_size = 64
    config.batch_size = 8
    return config


def traced(config):
    """Each step as a jaxpr, and its metrics, by size."""
    mesh = meshes.make_mesh()
    module = typed(config).network(3)
    optim = typed(config).optim
    state = abstract_state(module, optim, RUN, image_size=(64, 64), mesh=mesh)
    steps = programs.make_steps(typed(config), module, state, run=RUN, mesh=mesh)
    batch = tiny_run.make_batch(8, size=(64, 64))
    traces = {side: step.trace(state, batch, jax.random.key(0)) for side, step in steps.items()}
    metrics = {side: trace.out_info[1] for side, trace in traces.items()}
    return {side: str(trace.jaxpr) for side, trace in traces.items()}, metrics


def test_one_step_of_the_image_size_with_the_recipe_s_gains_and_augmentation(config, monkeypatch):
    augmented = []

    def augmentation(config, run):
        return lambda key, batch, step: augmented.append(batch.image.shape) or batch

    monkeypatch.setattr(programs, "augmentation", augmentation)
    config.loss.box = 0.0375
    jaxprs, metrics = traced(config)
    assert list(metrics) == [64]
    assert "loss/box" in metrics[64] and "loss/penalty" not in metrics[64]
    assert augmented == [(8, 64, 64, 3)]
    assert "0.0375" in jaxprs[64]


def test_a_step_of_each_size_and_the_penalty_of_the_implicit_knowledge(config):
    config.multi_scale = (32, 64)
    factorization = {"kind": "factorization", "sparsity": 0.1}
    config.model.implicit = {"alignment": {"operator": "add", "modelling": factorization}}
    _, metrics = traced(config)
    assert list(metrics) == [32, 64]
    assert all("loss/penalty" in one for one in metrics.values())


def test_the_tasks_of_the_model_with_their_gains(config):
    config.model.tasks = ("classify", "embed")
    config.task_loss.classify, config.task_loss.embed = 0.1875, 0.09375
    jaxprs, metrics = traced(config)
    assert {"loss/classify", "loss/embed"} <= set(metrics[64])
    assert "0.1875" in jaxprs[64] and "0.09375" in jaxprs[64]


@pytest.mark.parametrize(("batch_norm", "groups"), [("global", 1), ("device", 8)])
def test_statistics_of_the_batch_or_of_each_device(config, monkeypatch, batch_norm, groups):
    config.batch_norm = batch_norm
    given = []

    def make(module, **settings):
        given.append(settings["batch_norm_groups"])
        return step.make_train_step(module, **settings)

    monkeypatch.setattr(programs, "make_train_step", make)
    module, mesh = typed(config).network(3), meshes.make_mesh()
    state, _, _ = programs.step_arguments(typed(config), module, run=RUN, mesh=mesh)
    programs.make_steps(typed(config), module, state, run=RUN, mesh=mesh)
    assert given == [groups]


def test_evaluation_fills_its_batch_for_all_devices(config):
    config.eval.batch_size = 12
    assert programs.evaluation_batch_size(typed(config), meshes.make_mesh()) == 16
    assert programs.evaluation_batch_size(typed(config), tiny_run.one_device()) == 12
