"""Statistics of the whole batch or of each device's part: their numbers, and what devices say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from tests.support import tiny_run
from yolor_jax.nn.activations import ACTIVATIONS
from yolor_jax.nn.batch_norm import BatchNorm, normalise_batch
from yolor_jax.training import mesh as meshes
from yolor_jax.training import step

MODULE = BatchNorm(epsilon=1e-3, momentum=0.1)
ACTIVE = BatchNorm(epsilon=1e-3, momentum=0.1, activation="silu")
MUTABLE = ["batch_stats"]


def images(*shape):
    """Parts of the batch that differ in mean and spread."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    return x * np.arange(1, shape[0] + 1, dtype=np.float32)[:, None, None, None] + 2


def variables_of(channels):
    rng = np.random.default_rng(1)
    draw = lambda: jnp.asarray(rng.uniform(0.5, 2, channels), jnp.float32)  # noqa: E731
    return {
        "params": {"scale": draw(), "bias": draw()},
        "batch_stats": {"mean": draw(), "var": draw()},
    }


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_each_group_has_statistics_of_its_own(groups):
    x, variables = images(4, 3, 5, 6), variables_of(6)
    apply = jax.jit(
        lambda x: MODULE.apply(variables, x, train=True, groups=groups, mutable=["batch_stats"])
    )
    y, updates = apply(x)
    params, before = tiny_run.host(variables["params"]), tiny_run.host(variables["batch_stats"])
    want, means, unbiased = [], [], []
    for part in np.split(x.astype(np.float64), groups):
        mean, var = part.mean((0, 1, 2)), part.var((0, 1, 2))
        want.append((part - mean) / np.sqrt(var + 1e-3) * params["scale"] + params["bias"])
        means.append(mean)
        unbiased.append(part.var((0, 1, 2), ddof=1))
    close = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)  # noqa: E731
    close(y, np.concatenate(want))
    after = updates["batch_stats"]
    close(after["mean"], 0.9 * before["mean"] + 0.1 * np.mean(means, axis=0))
    close(after["var"], 0.9 * before["var"] + 0.1 * np.mean(unbiased, axis=0))


def test_gradients_of_a_group_are_those_of_a_batch_of_its_own():
    x, variables = images(4, 3, 5, 2), variables_of(2)
    weights = images(4, 3, 5, 2)[::-1]

    def total(x, weights, groups):
        y, _ = MODULE.apply(variables, x, train=True, groups=groups, mutable=["batch_stats"])
        return (y * weights).sum()

    gradient = jax.jit(jax.grad(total), static_argnums=2)
    parts = [gradient(x[i : i + 2], weights[i : i + 2], 1) for i in (0, 2)]
    got = gradient(x, weights, 2)
    np.testing.assert_allclose(got, np.concatenate(parts), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("bfloat16", 2e-2)])
def test_gradients_are_those_of_the_formula(activation, dtype, tolerance):
    """Of one that JAX differentiates operation by operation."""
    precise = "float64" if dtype == "float64" else "float32"
    with jax.enable_x64(True):
        x, weights = jnp.asarray(images(4, 3, 5, 6), dtype), jnp.asarray(images(4, 3, 5, 6), dtype)
        variables = jax.tree.map(lambda leaf: leaf.astype(precise), variables_of(6))
        module = BatchNorm(epsilon=1e-3, momentum=0.1, activation=activation)

        def ours(x, params):
            given = variables | {"params": params}
            return module.apply(given, x, train=True, mutable=["batch_stats"])[0]

        def formula(x, params):
            x = x.astype(precise)
            mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
            y = (x - mean) / jnp.sqrt(var + 1e-3) * params["scale"][None, None, None]
            y += params["bias"][None, None, None]
            return ACTIVATIONS[activation](y.astype(dtype))

        def gradients(function):
            total = lambda x, params: (function(x, params) * weights).astype(precise).sum()  # noqa: E731
            return jax.jit(jax.grad(total, argnums=(0, 1)))(x, variables["params"])

        got, want = gradients(ours), gradients(formula)
        assert got[0].dtype == dtype and got[1]["scale"].dtype == precise
        largest = jax.tree.map(lambda leaf: float(abs(leaf).max()), want)
        jax.tree.map(
            lambda got, want, by: np.testing.assert_allclose(
                np.float64(got), np.float64(want), rtol=0, atol=tolerance * by
            ),
            got, want, largest,
        )  # fmt: skip


def test_one_map_and_four_numbers_a_channel_are_kept_for_the_gradients():
    def gradient(x, params):
        variables = variables_of(6) | {"params": params}
        return jax.vjp(lambda x: ACTIVE.apply(variables, x, train=True, mutable=MUTABLE)[0], x)[1]

    x = jax.ShapeDtypeStruct((4, 3, 5, 6), jnp.bfloat16)
    kept = jax.tree.leaves(jax.eval_shape(gradient, x, variables_of(6)["params"]))
    maps = [leaf for leaf in kept if leaf.size >= x.size]
    assert [(leaf.shape, leaf.dtype) for leaf in maps] == [(x.shape, x.dtype)]
    assert sum(leaf.size for leaf in kept) - x.size <= 4 * 6


def test_gradients_under_shard_map_are_those_of_each_part():
    x, variables = images(8, 3, 5, 2), variables_of(2)
    weights = images(8, 3, 5, 2)[::-1]

    def total(params, x, weights):
        given = variables | {"params": params}
        return (ACTIVE.apply(given, x, train=True, mutable=MUTABLE)[0] * weights).sum()

    def by_hand(params, x, weights):
        gradients = jax.grad(total, argnums=(0, 1))(params, x, weights)
        return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), gradients)

    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))
    cut, whole = PartitionSpec("data"), PartitionSpec()
    mapped = jax.shard_map(by_hand, mesh=mesh, in_specs=(whole, cut, cut), out_specs=(whole, cut))
    got = jax.jit(mapped)(variables["params"], x, weights)
    parts = [by_hand(variables["params"], x[i : i + 2], weights[i : i + 2]) for i in range(0, 8, 2)]
    want = (
        jax.tree.map(lambda *leaves: sum(leaves), *(of_params for of_params, _ in parts)),
        np.concatenate([of_x for _, of_x in parts]),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4), got, want)


def test_second_derivatives_by_reverse_mode():
    """By x, in a direction: the statistics depend on x too."""
    with jax.enable_x64(True):
        x = jnp.asarray(images(3, 2, 2, 2), jnp.float64)
        direction = x[::-1]
        ones = jnp.ones(2, jnp.float64)

        def ours(x):
            y, _ = normalise_batch(x, ones, ones, epsilon=1e-3, activation=jax.nn.silu)
            return (y**2).sum()

        slope = lambda x: (jax.grad(ours)(x) * direction).sum()  # noqa: E731
        got = jax.jit(jax.grad(slope))(x)
        step = 1e-5 * direction
        want = (jax.grad(ours)(x + step) - jax.grad(ours)(x - step)) / 2e-5
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fsdp", [1, 4])
@pytest.mark.parametrize("groups", [1, 8])
def test_devices_with_statistics_of_their_own_say_nothing_to_each_other(groups, fsdp):
    mesh = meshes.make_mesh(fsdp=fsdp)
    variables, cut = variables_of(6), meshes.batch_sharding(mesh)

    def forward(x):
        return MODULE.apply(variables, x, train=True, groups=groups, mutable=["batch_stats"])[0]

    compiled = jax.jit(forward, in_shardings=cut, out_shardings=cut).lower(images(16, 3, 5, 6))
    program = compiled.compile().as_text()
    collectives = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    said = any(name in program for name in collectives)
    assert said == (groups == 1)


def test_a_training_step_with_statistics_of_each_device():
    """As on one device that is told to take as many parts."""
    run, config, module = tiny_run.run_length(16), tiny_run.quick(), tiny_run.Tiny()
    batch = tiny_run.make_batch(16)
    batch = batch._replace(
        image=(batch.image * np.linspace(0.2, 1, 16)[:, None, None, None]).astype(np.uint8)
    )

    def stepped(mesh, groups):
        now = tiny_run.start(module, config, run, mesh)
        train_step = step.make_train_step(
            module, augment=tiny_run.no_augment, loss=tiny_run.square_loss, config=config,
            run=run, mesh=mesh, shardings=meshes.state_sharding(mesh, now),
            batch_norm_groups=groups,
        )  # fmt: skip
        now, metrics = train_step(now, meshes.shard_batch(mesh, batch), jax.random.key(0))
        return tiny_run.host(now), tiny_run.host(metrics)

    eight, one = stepped(meshes.make_mesh(), 8), stepped(tiny_run.one_device(), 8)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), eight, one)
    whole = stepped(tiny_run.one_device(), 1)
    differs = jax.tree.map(lambda a, b: not np.allclose(a, b, rtol=1e-3), one[0], whole[0])
    assert differs.batch_stats["bn"]["var"] and differs.params["conv"]["kernel"]
