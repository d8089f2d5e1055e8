"""The folded network equals the trained one, on random implicits and statistics."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from leaves import random_leaves

from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.zoo import MODELS
from yolor_jax.nn.blocks import ConvUnit
from yolor_jax.trees import differences, flatten_by_path

IMAGES = np.random.default_rng(1).random((2, 64, 96, 3))
OPERATORS = ("add", "multiply", None)


def logits(spec, variables, dtype, *, fused):
    variables = jax.tree.map(lambda a: jnp.asarray(a, dtype), variables)
    module = build(spec, num_classes=3, dtype=dtype, fused=fused)
    return jax.jit(module.apply)(variables, jnp.asarray(IMAGES, dtype)).detect


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("after", OPERATORS)
@pytest.mark.parametrize("before", OPERATORS)
def test_a_unit_with_every_operator_at_both_places(before, after, norm):
    spec = dataclasses.replace(MODELS["yolor_test"], alignment=before, refinement=after)
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 6, 4)))
        unit = functools.partial(ConvUnit, 3, norm=norm, before=before, after=after, dtype=x.dtype)
        shapes = jax.eval_shape(lambda x: unit().init(jax.random.key(0), x, train=False), x)
        variables = {"batch_stats": {}} | random_leaves(shapes, dtype=np.float64)
        want = unit().apply(jax.tree.map(jnp.asarray, variables), x, train=False)
        got = unit(fused=True).apply(fold(spec, variables), x, train=False)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_a_detector_in_float64():
    spec = MODELS["yolor_test"]
    with jax.enable_x64(True):
        shapes = variable_shapes(build(spec, num_classes=3))
        variables = random_leaves(shapes, dtype=np.float64)
        trained = logits(spec, variables, jnp.float64, fused=False)
        folded = logits(spec, fold(spec, variables), jnp.float64, fused=True)
        for want, got in zip(trained, folded, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def test_nano_in_float32():
    spec = MODELS["yolor_nano"]
    variables = random_leaves(variable_shapes(build(spec, num_classes=3)))
    trained = logits(spec, variables, jnp.float32, fused=False)
    folded = logits(spec, fold(spec, variables), jnp.float32, fused=True)
    for want, got in zip(trained, folded, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", ["yolor_csp", "yolor_nano"])
def test_nothing_is_left_of_implicits_and_statistics(name):
    spec = MODELS[name]
    folded = fold(spec, random_leaves(variable_shapes(build(spec))))
    assert folded.keys() == {"params"}
    paths = flatten_by_path(folded)
    assert not [path for path in paths if "implicit" in path or "/bn/" in path]
    assert not differences(folded, variable_shapes(build(spec, fused=True)))


def test_folding_twice_is_refused():
    spec = MODELS["yolor_test"]
    folded = fold(spec, random_leaves(variable_shapes(build(spec))))
    with pytest.raises(ValueError, match="folded already"):
        fold(spec, folded)


def test_addition_before_a_padded_kernel_is_refused():
    unit = {"conv": {"kernel": np.ones((3, 3, 2, 4))}, "implicit_before": {"z": np.ones(2)}}
    with pytest.raises(ValueError, match="addition before a 3x3 convolution"):
        fold(MODELS["yolor_test"], {"params": unit, "batch_stats": {}})
