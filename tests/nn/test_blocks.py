"""Batch norm, resampling and pools against NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.zoo import ANCHORS_NANO, MODELS
from yolor_jax.nn.activations import mish
from yolor_jax.nn.batch_norm import BatchNorm
from yolor_jax.nn.blocks import max_pool
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.nn.heads import prediction_bias
from yolor_jax.nn.resample import haar_wavelet, space_to_depth, upsample2
from yolor_jax.trees import select


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_batch_norm_keeps_the_unbiased_variance():
    x = jnp.asarray(random(2, 3, 4, 5) * 3 + 1)
    module = BatchNorm(epsilon=1e-3, momentum=0.1)
    variables = module.init(jax.random.key(0), x, train=True)
    assert np.all(variables["batch_stats"]["var"] == 1)
    y, updates = jax.jit(
        lambda v, x: module.apply(v, x, train=True, mutable=["batch_stats"])
    )(variables, x)  # fmt: skip
    x = np.asarray(x)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(updates["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    want = 0.9 + 0.1 * x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(updates["batch_stats"]["var"], want, rtol=1e-5)


def test_batch_norm_in_bfloat16_has_float32_statistics():
    x = jnp.asarray(random(2, 8, 8, 4) * 0.1 + 30, jnp.bfloat16)
    module = BatchNorm(epsilon=1e-3, momentum=1.0)
    variables = module.init(jax.random.key(0), x, train=True)
    y, updates = module.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    want = np.asarray(x, np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(updates["batch_stats"]["mean"], want, rtol=1e-6)


def test_the_gradient_of_a_bias_in_bfloat16_is_summed_in_float32():
    unit = ConvUnit(2, norm=False, bias=True, activation="linear", dtype=jnp.bfloat16)
    x = jnp.ones((8, 16, 16, 3), jnp.bfloat16)
    variables = unit.init(jax.random.key(0), x, train=False)

    def total(params):
        return unit.apply({"params": params}, x, train=False).astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(total))(variables["params"])["conv"]["bias"]
    np.testing.assert_array_equal(gradient, np.full(2, 8 * 16 * 16))


def test_space_to_depth_order():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)  # top left 0, top right 1, bottom left 2, ...
    assert space_to_depth(x).ravel().tolist() == [0, 2, 1, 3]


def test_haar_wavelet_of_two_channels():
    """By hand: means first, then rows, columns, diagonals of each channel, shifted by a half."""
    first = np.array([[1.0, 2.0], [3.0, 6.0]])
    x = jnp.asarray(np.stack([first, np.full((2, 2), 4.0)], axis=-1)[None])
    y = haar_wavelet(x)
    assert y.shape == (1, 1, 1, 8)
    want = [3.0, 4.0, -1.5 + 0.5, -1.0 + 0.5, 0.5 + 0.5, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(y.ravel(), want)


def test_upsample_repeats_pixels():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    want = np.kron(np.arange(4.0).reshape(2, 2), np.ones((2, 2)))
    assert np.array_equal(upsample2(x)[0, :, :, 0], want)


@pytest.mark.parametrize(("times", "side"), [(1, 5), (2, 9), (3, 13)])
def test_pools_in_a_row_are_larger_pools(times, side):
    x = random(1, 16, 17, 2)
    padded = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)), constant_values=-9e9)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    y = jnp.asarray(x)
    for _ in range(times):
        y = max_pool(y, 5)
    assert np.array_equal(y, windows.max((-2, -1)))


@pytest.mark.parametrize(("side", "stride"), [(5, 1), (2, 2)])
def test_the_gradient_of_a_pool_goes_to_the_first_largest_in_reading_order(side, stride):
    x = np.random.default_rng(0).integers(0, 3, (2, 6, 8, 3)).astype(np.float32)  # many are equal
    y, backward = jax.vjp(lambda x: max_pool(x, side, stride), x)
    g = np.random.default_rng(1).integers(1, 9, y.shape).astype(np.float32)
    want = np.zeros_like(x)
    before = (side - 1) // 2
    for image, row, column, channel in np.ndindex(y.shape):
        top, left = row * stride - before, column * stride - before
        window = [
            (i, j)
            for i in range(max(top, 0), min(top + side, x.shape[1]))
            for j in range(max(left, 0), min(left + side, x.shape[2]))
        ]
        first = max(window, key=lambda place: x[image, *place, channel])
        assert y[image, row, column, channel] == x[image, *first, channel]
        want[image, *first, channel] += g[image, row, column, channel]
    assert np.array_equal(backward(g)[0], want)


def test_mish():
    x = np.linspace(-5, 5, 11).astype(np.float32)
    want = x * np.tanh(np.log1p(np.exp(x)))
    np.testing.assert_allclose(mish(jnp.asarray(x)), want, rtol=1e-5, atol=1e-6)


def test_prediction_bias_holds_the_prior():
    """The values that golden/README.md gives for K = 80 (1.6, smart bias initialisation)."""
    for stride, objectness in ((8, -6.6846), (16, -5.2983), (32, -3.9120), (64, -2.5257)):
        bias = prediction_bias(3, 80, stride, 10**12)(jax.random.key(0), (255,)).reshape(3, 85)
        np.testing.assert_allclose(bias[:, :4], 0, atol=1e-5)
        np.testing.assert_allclose(bias[:, 4], objectness, atol=1e-4)
        np.testing.assert_allclose(bias[:, 5:], -4.8804, atol=1e-4)


def test_image_side_off_the_stride():
    with pytest.raises(ValueError, match="side 100 is not a multiple of the largest stride 32; "
                                         "use 96 or 128"):  # fmt: skip
        jax.eval_shape(
            lambda x: build("yolor_test").init(jax.random.key(0), x), jnp.zeros((1, 64, 100, 3))
        )


def test_unknown_model_says_what_was_meant():
    with pytest.raises(ValueError, match="no model 'yolor_cps'; did you mean 'yolor_csp'"):
        find_spec("yolor_cps")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"down": "CSP"}, "no down 'CSP'; expected one of conv, csp"),
        ({"activation": "relu"}, "no activation 'relu'; expected one of silu, mish"),
        ({"stem": ("reorg",)}, "no step of the stem 'reorg'; expected one of space_to_depth, haar"),
        ({"anchors": ANCHORS_NANO[:2]}, "3 neck_widths, 4 stages and anchors for 2 levels"),
        ({"neck_widths": (8,) * 5, "anchors": (ANCHORS_NANO[0],) * 5}, "5 neck_widths, 4 stages"),
    ],
)
def test_a_spec_that_makes_no_network_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(MODELS["yolor_test"], **changes)


def test_no_classes():
    with pytest.raises(ValueError, match="got num_classes = 0; expected at least 1"):
        build("yolor_test", 0)


def test_number_of_classes_sets_the_head():
    shapes = variable_shapes(build("yolor_test", num_classes=7))
    kernels = select(shapes["params"], r"head/.*kernel")
    assert {leaf.shape[-1] for leaf in kernels.values()} == {3 * (5 + 7)}
