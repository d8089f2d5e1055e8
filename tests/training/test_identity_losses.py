"""Losses of identities and learnt weights of tasks, against loops in NumPy; what is trained."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from tests.training.test_task_losses import outputs_of
from yolor_jax.detection.losses import LossConfig
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_tasks
from yolor_jax.models.zoo import MODELS
from yolor_jax.tasks import identity as by_identity
from yolor_jax.tasks.embedding import describe
from yolor_jax.training import optim
from yolor_jax.training.freeze import frozen
from yolor_jax.training.learner import learner
from yolor_jax.training.learnt import identities_of, of_network
from yolor_jax.training.task_losses import TaskLossConfig, make_loss, uncertainty_weighed
from yolor_jax.trees import flatten_by_path

TEMPERATURE = 0.2
IDENTITY = np.array([[0, 1, -1], [1, 2, 0], [-1, -1, -1], [4, -1, 1]], np.int32)


def unit(seed=0, shape=(4, 3, 6)):
    v = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def numpy_contrast(vectors, identity):
    """Equation 2 of arXiv 2004.11362 by loops, over all objects of the batch."""
    known = [tuple(at) for at in np.argwhere(identity >= 0)]
    losses = []
    for i in known:
        others = [j for j in known if j != i]
        same = [j for j in others if identity[j] == identity[i]]
        if not same or len(same) == len(others):
            continue
        s = {j: float(vectors[i].astype(np.float64) @ vectors[j]) / TEMPERATURE for j in others}
        total = sum(np.exp(v) for v in s.values())
        losses.append(-np.mean([np.log(np.exp(s[j]) / total) for j in same]))
    return np.mean(losses) if losses else 0.0


@jax.jit
def contrast(vectors, identity):
    return by_identity.contrastive_loss(vectors, identity, temperature=TEMPERATURE)


def test_contrast_reaches_over_images():
    vectors = unit()
    value, gradient = jax.value_and_grad(contrast)(vectors, IDENTITY)
    assert value == pytest.approx(numpy_contrast(vectors, IDENTITY), rel=1e-5)
    assert np.isfinite(gradient).all() and not np.asarray(gradient)[IDENTITY < 0].any()


@pytest.mark.parametrize("identity", [-1, 3], ids=["none known", "all the same"])
def test_nothing_to_tell_apart_costs_nothing(identity):
    same = np.full_like(IDENTITY, identity)
    value, gradient = jax.value_and_grad(contrast)(unit(), same)
    assert value == 0 and not np.asarray(gradient).any()


def numpy_classification(vectors, identity, kernel, bias):
    stretch = max(np.sqrt(2) * np.log(len(bias) - 1), 1.0)
    losses = []
    for at in np.argwhere(identity >= 0):
        logits = stretch * vectors[tuple(at)].astype(np.float64) @ kernel + bias
        losses.append(np.log(np.exp(logits).sum()) - logits[identity[tuple(at)]])
    return np.mean(losses) if losses else 0.0


def test_cross_entropy_over_identities():
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(6, 5)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    loss = jax.jit(by_identity.classification_loss)
    want = numpy_classification(unit(), IDENTITY, kernel, bias)
    assert loss(unit(), IDENTITY, kernel, bias) == pytest.approx(want, rel=1e-5)
    assert loss(unit(), np.full_like(IDENTITY, -1), kernel, bias) == 0


def test_weights_of_uncertainty():
    losses = {"detect": jnp.float32(3.0), "embed": jnp.float32(0.5)}
    s = {"detect": jnp.float32(1.0), "embed": jnp.float32(-2.0)}
    want = 0.5 * (np.exp(-1.0) * 3.0 + 1.0) + 0.5 * (np.exp(2.0) * 0.5 - 2.0)
    assert jax.jit(uncertainty_weighed)(losses, s) == pytest.approx(want, rel=1e-6)
    best = {task: jnp.log(loss) for task, loss in losses.items()}
    slope = jax.grad(uncertainty_weighed, argnums=1)(losses, best)
    assert np.abs([*slope.values()]).max() < 1e-6  # best where exp(s) is the loss


def spec_of(*tasks):
    return with_tasks(MODELS["yolor_test"], tasks)


def batch_with(identity):
    batch = tiny_run.make_batch(4, size=(64, 64), targets=3)
    return batch._replace(identity=np.where(batch.mask, identity, -1).astype(np.int32))


@functools.cache
def compiled(spec, config, identities):
    loss = make_loss(spec, detection=LossConfig(), tasks=config, identities=identities)
    return jax.jit(loss)


def terms_of(spec, batch, config, *, identities, learnt=None):
    outputs = outputs_of(spec)._replace(learnt=learnt)
    return outputs, compiled(spec, config, identities)(outputs, batch)[1]


def test_an_image_without_identities_is_taught_as_before():
    spec, config = spec_of("embed"), TaskLossConfig(temperature=TEMPERATURE)
    blank = np.full((4, 3), -1)
    _, plain = terms_of(spec, batch_with(blank), config, identities=False)
    _, none = terms_of(spec, batch_with(blank), config, identities=True)
    assert none["embed"] == plain["embed"] > 0
    some = batch_with(np.array([[0, 1, 2], [2, 0, 1], [-1, -1, -1], [-1, -1, -1]]))
    outputs, mixed = terms_of(spec, some, config, identities=True)
    where = jnp.asarray(some.boxes_xyxy), jnp.asarray(some.identified)
    vectors = describe(outputs.embed, *where, strides=spec.strides)
    rest = some._replace(mask=some.mask & (np.arange(4) > 1)[:, None])
    _, own = terms_of(spec, rest, config, identities=False)
    want = own["embed"] + config.embed * numpy_contrast(np.asarray(vectors), some.identity)
    assert mixed["embed"] == pytest.approx(float(want), rel=1e-5)


def test_learnt_weights_in_the_loss():
    spec = spec_of("classify", "embed")
    batch = batch_with(np.full((4, 3), -1))
    s = {"detect": jnp.float32(0.3), "classify": jnp.float32(-1.0), "embed": jnp.float32(0.0)}
    config = TaskLossConfig(weights="learnt")
    _, learnt = terms_of(spec, batch, config, identities=False, learnt={"log_variance": s})
    _, fixed = terms_of(spec, batch, TaskLossConfig(), identities=False)
    losses = {task: fixed[task] for task in ("classify", "embed")}
    losses["detect"] = fixed["box"] + fixed["objectness"] + fixed["classification"]
    assert learnt["total"] == pytest.approx(float(uncertainty_weighed(losses, s)), rel=1e-5)
    assert learnt["log_variance_classify"] == -1.0


def test_what_is_trained_of_a_detector():
    module = build(spec_of("embed"), 3)
    plain = TaskLossConfig()
    assert learner(module, plain, 0) is module
    alone = build(spec_of("classify"), 3)
    assert learner(alone, plain, 7) is alone  # nobody asks whose the objects are
    both = learner(module, TaskLossConfig(identities="classifier", weights="learnt"), 7)
    ours, theirs = (flatten_by_path(variable_shapes(m)["params"]) for m in (both, module))
    more = {path: leaf.shape for path, leaf in ours.items() if path not in theirs}
    width = module.spec.embedding
    assert more == {
        "task_loss/identities/kernel": (width, 7), "task_loss/identities/bias": (7,),
        "task_loss/log_variance/detect": (), "task_loss/log_variance/embed": (),
    }  # fmt: skip
    variables = variable_shapes(both)
    assert identities_of(variables["params"]) == 7
    stripped = flatten_by_path(of_network(variables)["params"])
    assert {path: leaf.shape for path, leaf in stripped.items()} == {
        path: leaf.shape for path, leaf in theirs.items()
    }
    groups = flatten_by_path(optim.parameter_groups(variables["params"]))
    assert {groups[path] for path in more} == {"kernel", "bias", "scale"}
    flags = flatten_by_path(frozen(variables["params"], "^task_loss/log_variance"))
    assert sum(flags.values()) == 2


@pytest.mark.parametrize("identities", [0, 1])
def test_a_classifier_needs_identities(identities):
    with pytest.raises(InputError, match=f"have {identities} identities; expected two or more"):
        learner(build(spec_of("embed"), 3), TaskLossConfig(identities="classifier"), identities)


def test_settings_of_tasks_that_the_network_lacks():
    with pytest.raises(InputError, match="'classifier', and the network embeds nothing; expected"):
        learner(build(spec_of("classify"), 3), TaskLossConfig(identities="classifier"), 5)
    with pytest.raises(InputError, match="'learnt', and the network has no task beside detection"):
        learner(build(spec_of(), 3), TaskLossConfig(weights="learnt"), 0)


@pytest.mark.parametrize(
    "change", [{"embed": 0.0}, {"classify": -0.1}, {"weights": "free"}, {"identities": "arcface"}]
)
def test_settings_that_make_no_sense(change):
    with pytest.raises(InputError, match=f"task_loss.{next(iter(change))} is .*expected"):
        TaskLossConfig(**change)
