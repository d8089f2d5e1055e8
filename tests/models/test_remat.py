"""Rematerialised blocks: the same gradients and parameters, and less memory for activations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.models.detector import block_names, build, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.trees import flatten_by_path

IMAGES = np.random.default_rng(0).uniform(size=(4, 64, 64, 3)).astype(np.float32)
SPEC = MODELS["yolor_test"]


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(1)

    def draw(leaf):
        return rng.uniform(0.1, 0.5, leaf.shape).astype(leaf.dtype) * np.sign(rng.normal())

    shapes = variable_shapes(build(SPEC, 3))
    statistics = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes["batch_stats"])
    return {"params": jax.tree.map(draw, shapes["params"]), "batch_stats": statistics}


def loss(params, batch_stats, module):
    """Squares of all logits, and the new batch statistics."""
    variables = {"params": params, "batch_stats": batch_stats}
    outputs, updated = module.apply(
        variables, jnp.asarray(IMAGES, module.dtype), train=True, mutable=["batch_stats"]
    )
    return sum(jnp.sum(jnp.square(level)) for level in outputs.detect), updated


def kept_bytes(variables, remat):
    """Of what the forward pass leaves for the backward pass."""
    module = build(SPEC, 3, remat=remat)

    def forward(params):
        function = functools.partial(loss, batch_stats=variables["batch_stats"], module=module)
        return jax.vjp(function, params, has_aux=True)[1]

    kept = jax.eval_shape(forward, variables["params"])
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


@pytest.mark.long
def test_gradients_and_statistics_stay(variables):
    """In float64: this network amplifies the rounding of float32 a thousand times."""
    results = []
    with jax.enable_x64(True):
        arguments = jax.tree.map(lambda leaf: leaf.astype(np.float64), variables)
        for remat in ("", "."):
            module = build(SPEC, 3, remat=remat, dtype=jnp.float64)
            function = jax.value_and_grad(functools.partial(loss, module=module), has_aux=True)
            results.append(jax.jit(function)(arguments["params"], arguments["batch_stats"]))
        assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {jnp.dtype(jnp.float64)}
    plain, spared = results
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), spared, plain)


@pytest.mark.parametrize("name", ["yolor_test", "yolor_p6"])
def test_names_are_those_of_modules_and_paths_stay(name):
    spec = MODELS[name]
    shapes = [variable_shapes(build(spec, remat=remat)) for remat in ("", ".")]
    assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
    modules = {path.split("/")[2] for path in flatten_by_path(shapes[0]) if "/head/" not in path}
    others = {m for m in modules if m == "stem" or m.startswith("output")}
    assert set(block_names(spec)) == modules - others


def test_the_chosen_blocks_and_no_others_keep_less(variables):
    """What XLA makes of it is seen in a compilation for a TPU; on a CPU, XLA undoes it."""
    whole, second, others, stages, blocks = (
        kept_bytes(variables, regex) for regex in ("", "^stage2$", "^stage[134]$", "^stage", ".")
    )
    assert whole > second > others > stages > blocks
    assert whole - stages == (whole - second) + (whole - others)


def test_a_pattern_that_finds_nothing():
    with pytest.raises(
        ValueError, match=r"'stage9', which is found in no block of yolor_test; exp"
    ):
        build(SPEC, remat="stage9")
    with pytest.raises(ValueError, match="which is no regular expression"):
        build(SPEC, remat="(")
