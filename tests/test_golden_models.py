"""yolor_csp with the golden weights gives the outputs of the original (golden/README.md, 1)."""

import golden_models
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.zoo import MODELS
from yolor_jax.trees import differences, flatten_by_path

SPEC = MODELS["yolor_csp"]


@pytest.fixture(scope="module")
def model(golden):
    return golden_models.load(golden, "main__yolor_csp")


@pytest.fixture(scope="module")
def variables(model):
    return golden_models.variables(SPEC, model.state_dict)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(build(SPEC).apply)


def test_parameters_are_those_of_the_original(model, variables):
    shapes = variable_shapes(build(SPEC))
    assert not differences(variables, shapes)
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == model.facts["num_params"]
    assert SPEC.strides == tuple(model.facts["strides"])
    assert np.array_equal(SPEC.anchors, model.facts["anchors"])
    assert SPEC.bn_epsilon == model.facts["bn_eps"]
    assert SPEC.bn_momentum == model.facts["bn_momentum"]


def test_logits(model, variables, apply):
    logits = apply(variables, golden_models.images(model.facts["input"]["shape"])).detect
    for level, got in enumerate(logits):
        want = model.arrays[f"level{level}"]
        np.testing.assert_allclose(golden_models.to_golden_layout(got), want, rtol=0, atol=5e-5)


def test_logits_of_the_big_input(model, variables, apply):
    """Large enough that the pools of SPP differ on the deepest map."""
    logits = apply(variables, golden_models.images(model.facts["big"]["input"]["shape"])).detect
    got = golden_models.to_golden_layout(logits[-1])
    np.testing.assert_allclose(got, model.arrays["big_level2"], rtol=0, atol=5e-5)


def test_folded_logits(model, variables):
    fused = jax.jit(build(SPEC, fused=True).apply)
    logits = fused(fold(SPEC, variables), golden_models.images(model.facts["input"]["shape"]))
    for level, got in enumerate(logits.detect):
        want = model.arrays[f"level{level}"]
        np.testing.assert_allclose(golden_models.to_golden_layout(got), want, rtol=0, atol=5e-5)


@pytest.mark.long
def test_train_mode_in_float64(model, variables):
    """Batch statistics, running statistics and the norm of every gradient."""
    facts = model.facts["train"]
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        x = jnp.asarray(golden_models.images(facts["input"]["shape"]), jnp.float64)
        module = build(SPEC, dtype=jnp.float64)

        def loss(params):
            tree = {"params": params, "batch_stats": wide["batch_stats"]}
            outputs, updates = module.apply(tree, x, train=True, mutable=["batch_stats"])
            value = sum(jnp.mean(jnp.square(level)) for level in outputs.detect)
            return value, (outputs.detect, updates["batch_stats"])

        (value, (logits, stats)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            wide["params"]
        )
    assert value == pytest.approx(facts["loss_value_float64"], rel=1e-9)
    for level, got in enumerate(logits):
        want = model.arrays[f"train_level{level}"]
        np.testing.assert_allclose(golden_models.to_golden_layout(got), want, rtol=0, atol=1e-5)

    names = golden_models.darknet_names(SPEC)
    paths = flatten_by_path({"params": gradients, "batch_stats": stats})
    for i, bn in enumerate(facts["bn_names"]):
        for kind, running in (("mean", "running_mean"), ("var", "running_var")):
            got = paths["/".join(names[f"{bn}.{running}"])]
            want = model.arrays[f"train_bn{i}_{kind}"]
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    norms = facts["grad_l2_norms"]
    assert len(norms) == len(flatten_by_path(gradients))
    for theirs, want in norms.items():
        got = np.linalg.norm(paths["/".join(names[theirs])])
        assert got == pytest.approx(want, rel=1e-5), theirs
