"""Implicit knowledge: every operator and modelling against NumPy, and its start values."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax.nn.implicit import NEUTRAL, Factorization, Implicit, Network, Vector
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.trees import select

MODELLINGS = {
    "vector": Vector(),
    "linear network": Network(),
    "deep network": Network(hidden=(8, 6), nonlinearity="tanh"),
    "silu network": Network(hidden=(16,), nonlinearity="silu", prior=5),
    "factorization": Factorization(),
    "few atoms": Factorization(atoms=3),
}
OPERATORS = ("add", "multiply", "concat")


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def start(modelling, shape, neutral, seed):
    """g(z) of freshly drawn leaves."""
    return modelling.g(modelling.initialise(jax.random.key(seed), shape, neutral, 0.02))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", MODELLINGS)
def test_g_starts_as_a_normal_distribution(name, operator):
    """4,000 draws: mean, spread, the share within one sigma, and no correlation of dimensions."""
    neutral = NEUTRAL[operator]
    draws = jax.vmap(lambda i: start(MODELLINGS[name], (4,), neutral, i))(jnp.arange(1000))
    scaled = (np.asarray(draws, np.float64) - neutral) / 0.02  # [1000, 4]
    assert scaled.mean() == pytest.approx(0, abs=0.07)
    assert scaled.std() == pytest.approx(1, abs=0.05)
    assert (np.abs(scaled) < 1).mean() == pytest.approx(0.683, abs=0.03)
    assert (scaled**4).mean() == pytest.approx(3, abs=0.6)
    correlation = np.corrcoef(scaled.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 0.13


@pytest.mark.parametrize("operator", OPERATORS)
def test_nonnegative_factors_start_at_the_magnitudes_of_the_draws(operator):
    neutral = NEUTRAL[operator]
    modelling = Factorization(atoms=3, nonnegative=True)
    draws = np.asarray(jax.vmap(lambda i: start(modelling, (4,), neutral, i))(jnp.arange(1000)))
    assert draws.min() >= 0
    want = np.abs(neutral + 0.02 * np.random.default_rng(0).normal(size=100_000))
    quantiles = np.linspace(0.05, 0.95, 19)
    got = np.quantile(draws, quantiles)
    np.testing.assert_allclose(got, np.quantile(want, quantiles), atol=0.003)


def numpy_g(modelling, leaves):
    """g(z) written out, over an optional leading axis."""
    if isinstance(modelling, Vector):
        return leaves["z"]
    if isinstance(modelling, Factorization):
        atoms, c = leaves["atoms"], leaves["coefficients"]
        if modelling.nonnegative:
            atoms, c = np.abs(atoms), np.abs(c)
        return np.einsum("...dc,...d->...c", atoms, c)
    h = leaves["z"]
    for i in range(len(modelling.hidden) + 1):
        h = np.einsum("...d,...dc->...c", h, leaves[f"w{i}"])
        if i < len(modelling.hidden) and modelling.nonlinearity == "tanh":
            h = np.tanh(h)
        elif i < len(modelling.hidden) and modelling.nonlinearity == "silu":
            h = h / (1 + np.exp(-h))
    return h


def numpy_combine(operator, x, g):
    groups = [x] if g.ndim == 1 else np.split(x, len(g), axis=-1)
    g = np.atleast_2d(g)
    parts = []
    for part, constant in zip(groups, g, strict=True):
        full = np.broadcast_to(constant, (*part.shape[:-1], constant.size))
        parts += (
            [{"add": part + full, "multiply": part * full}[operator]]
            if (operator != "concat")
            else [full, part]
        )
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", [*MODELLINGS, "nonnegative"])
def test_y_is_x_combined_with_g(name, operator, groups):
    modelling = MODELLINGS.get(name, Factorization(atoms=3, nonnegative=True))
    module = Implicit(operator, modelling, groups=groups)
    x = random(2, 3, 4, 6)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    leaves = {k: random(*leaf.shape, seed=i) for i, (k, leaf) in enumerate(shapes.items())}
    want = numpy_combine(operator, x, numpy_g(modelling, leaves))
    got = jax.jit(module.apply)({"params": leaves}, x)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_shapes_of_the_leaves():
    def shapes(modelling, groups=1):
        module = Implicit("add", modelling, groups=groups)
        tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 12)))["params"]
        return {name: leaf.shape for name, leaf in tree.items()}

    assert shapes(Vector()) == {"z": (12,)}
    assert shapes(Network()) == {"z": (24,), "w0": (24, 12)}
    assert shapes(Network(hidden=(5,), prior=7)) == {"z": (7,), "w0": (7, 5), "w1": (5, 12)}
    assert shapes(Factorization()) == {"atoms": (24, 12), "coefficients": (24,)}
    z = Implicit("add", Network()).init(jax.random.key(0), jnp.zeros((1, 12)))["params"]["z"]
    assert np.linalg.norm(z) == pytest.approx(1)  # so that it learns as fast as a vector
    assert shapes(Network(), groups=3) == {"z": (3, 8), "w0": (3, 8, 4)}


def test_only_some_channels_are_acted_on():
    """Width and height of two anchors with five outputs each."""
    module = Implicit("multiply", groups=2, channels=(2, 4))
    z = np.array([[2.0, 3.0], [4.0, 5.0]], np.float32)
    y = module.apply({"params": {"z": z}}, jnp.ones((1, 10)))
    assert y.tolist() == [[1, 1, 2, 3, 1, 1, 1, 4, 5, 1]]
    added = Implicit("add", groups=2, channels=(2, 4)).apply(
        {"params": {"z": z}}, jnp.ones((1, 10))
    )
    assert added.tolist() == [[1, 1, 3, 4, 1, 1, 1, 5, 6, 1]]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_it_learns_in_the_dtype_of_the_representation(dtype):
    x, z = jnp.asarray(random(2, 3, 4, 5), dtype), jnp.asarray(random(5, seed=1))

    @jax.jit
    def corrected(z, x):
        return Implicit("multiply").apply({"params": {"z": z}}, x)

    assert corrected(z, x).dtype == dtype
    gradient = jax.grad(lambda z: corrected(z, x).astype(jnp.float32).sum())(z)
    assert gradient.dtype == jnp.float32
    wide = np.asarray(x, np.float32)
    np.testing.assert_allclose(gradient, wide.sum((0, 1, 2)), rtol=5e-2, atol=0.1)


@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_in_bfloat16_are_summed_in_float32(operator):
    """51,200 ones: a sum in bfloat16 stops at a few thousands."""
    x = jnp.ones((8, 80, 80, 4), jnp.bfloat16)

    def total(z):
        y = Implicit(operator).apply({"params": {"z": z}}, x)
        return y.astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(total))(jnp.ones(4))
    np.testing.assert_array_equal(gradient, np.full(4, 8 * 80 * 80))


def test_the_gradient_of_silu_is_finite_far_below_zero():
    module = Implicit("add", Network(hidden=(4,), nonlinearity="silu"))
    x = jnp.zeros((1, 3))
    params = module.init(jax.random.key(0), x)
    params["params"]["z"] = jnp.full(6, -1e3)
    params["params"]["w0"] = jnp.ones((6, 4))
    gradient = jax.grad(lambda p: module.apply(p, x).sum())(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", MODELLINGS)
def test_every_leaf_has_a_gradient(name):
    module = Implicit("add", MODELLINGS[name])
    x = jnp.asarray(random(2, 4))
    params = module.init(jax.random.key(0), x)
    target = jnp.asarray(random(2, 4, seed=1))
    loss = lambda p: jnp.sum((module.apply(p, x) - target) ** 2)  # noqa: E731
    for path, gradient in select(jax.grad(loss)(params), "").items():
        assert np.abs(gradient).min() > 0, path


def test_an_empty_batch():
    y = Implicit("concat", features=2).apply({"params": {"z": np.ones(2)}}, jnp.zeros((0, 4, 4, 3)))
    assert y.shape == (0, 4, 4, 5)


def test_three_lines_in_a_foreign_module():
    class Head(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = Implicit("multiply", Network(hidden=(64,)), name="implicit_before")(x)
            return nn.Conv(2, (1, 1), name="conv")(x)

    variables = Head().init(jax.random.key(0), jnp.zeros((1, 4, 4, 7)))
    paths = list(select(variables, "implicit"))
    assert paths == [f"params/implicit_before/{leaf}" for leaf in ("w0", "w1", "z")]


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Implicit("power"), "got the operator 'power'; expected one of add, multiply, concat"),
        (Implicit("add", features=3), "3 features does not fit channels 0..4"),
        (Implicit("add", groups=3), "does not fit channels .* of 4 in 3 groups"),
        (Implicit("add", channels=(2, 6)), "does not fit channels 2..6 of 4"),
        (Implicit("concat", channels=(2, 4)), "a concatenation acts on all channels"),
        (Implicit("add", groups=0), "got groups = 0; expected at least 1"),
        (Implicit("add", features=0), "got features = 0; expected at least 1"),
    ],
)
def test_what_does_not_fit_is_said(module, sentence):
    with pytest.raises(ValueError, match=sentence):
        module.init(jax.random.key(0), jnp.zeros((1, 4)))


def test_unknown_names_are_said():
    with pytest.raises(ValueError, match="non-linearity 'gelu'; expected one of None, tanh, silu"):
        Network(nonlinearity="gelu")
    with pytest.raises(ValueError, match="scope 'anchors'; expected one of all, anchor, size"):
        Knowledge(scope="anchors")
