"""Exact statistics of batch norm: the law of total variance, and what a network does with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, normalise, variable_shapes
from yolor_jax.nn.resample import space_to_depth
from yolor_jax.training.exact_statistics import exact_statistics, make_moments


@pytest.fixture(scope="module")
def network():
    module = build("yolor_test", 3)
    return module, jax.device_put(random_leaves(variable_shapes(module)))


@pytest.fixture(scope="module")
def moments(network):
    return jax.jit(make_moments(network[0]))


@pytest.fixture(scope="module")
def images():
    """Two batches of different brightness, so that their means differ."""
    images = np.random.default_rng(0).integers(0, 120, (2, 4, 64, 64, 3), np.uint8)
    images[1] += 120
    return images


def test_of_the_first_layer(network, moments, images):
    """Oracle: the convolution of the stem by hand, and means over both batches."""
    variables = network[1]
    found = exact_statistics(moments, variables, list(images))["backbone"]["stem"]["bn"]
    kernel = np.asarray(variables["params"]["backbone"]["stem"]["conv"]["kernel"])  # [3, 3, 12, C]
    stem = np.stack([space_to_depth(jnp.asarray(batch / np.float32(255))) for batch in images])
    padded = np.pad(stem, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    seen = np.einsum("bnhwcij,ijco->bnhwo", windows, kernel)
    means, within = seen.mean((1, 2, 3)), seen.var((1, 2, 3), ddof=1)
    np.testing.assert_allclose(found["mean"], means.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"], within.mean(0) + means.var(0), rtol=1e-3)


@pytest.mark.long
def test_a_network_with_the_statistics_of_a_batch_does_what_it_did_in_training(network, moments):
    """The variances differ by the factor n / (n - 1) alone, where n is 128 or more."""
    module, variables = network
    images = np.random.default_rng(1).integers(0, 256, (1, 8, 128, 128, 3), np.uint8)
    pixels = normalise(jnp.asarray(images[0]), module.dtype)
    outputs, _ = module.apply(variables, pixels, train=True, mutable=["batch_stats"])
    statistics = exact_statistics(moments, variables, images)
    evaluate = jax.jit(lambda variables: module.apply(variables, pixels, train=False))
    again = evaluate({**variables, "batch_stats": statistics})
    running = evaluate(variables)
    assert (
        distance(again.detect, outputs.detect)
        < 0.2
        < 0.5
        < distance(running.detect, outputs.detect)
    )


def distance(maps, others):
    """The largest root mean square of a difference, as a part of that of the map."""
    return max(
        float(jnp.sqrt(jnp.mean((one - other) ** 2) / jnp.mean(other**2)))
        for one, other in zip(maps, others, strict=True)
    )


def test_the_same_batch_twice_is_the_batch(network, moments, images):
    once = exact_statistics(moments, network[1], images[:1])
    twice = exact_statistics(moments, network[1], [images[0], images[0]])
    jax.tree.map(np.testing.assert_array_equal, once, twice)


def test_no_batch(network, moments):
    with pytest.raises(InputError, match="no batch"):
        exact_statistics(moments, network[1], [])
