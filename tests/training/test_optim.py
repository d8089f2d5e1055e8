"""Schedule, groups, Nesterov and moving average against the original's trajectories."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolor_jax import trees
from yolor_jax.models import detector
from yolor_jax.training import optim
from yolor_jax.weights.names import torch_names

ORIGINAL = optim.OptimConfig(lag_one_epoch=True, drop_gradients_at_epoch_start=True)
PLAIN = optim.OptimConfig()


def schedule(steps, config, run):
    """All hyper-parameters of many steps, compiled once."""
    return jax.jit(jax.vmap(lambda step: optim.hyperparameters(step, config, run)))(steps)


@pytest.mark.parametrize("batch", [8, 16, 64])
@pytest.mark.parametrize("batches", [50, 500])
def test_schedule_is_the_original(golden, batches, batch):
    name = f"nb{batches}_bs{batch}"
    facts = json.loads((golden / "schedule" / "lr.json").read_text())[name]
    rows = np.load(golden / "schedule" / "lr.npz")[name]
    assert len(rows) == facts["rows"] and facts["epochs"] == 300
    run = optim.RunLength(batch_size=batch, steps_per_epoch=batches, total_steps=batches * 300)
    with jax.enable_x64(True):
        got = jax.tree.map(np.asarray, schedule(jnp.arange(run.total_steps), ORIGINAL, run))
    index = rows[:, 0].astype(int)
    np.testing.assert_array_equal(index // batches, rows[:, 1])
    np.testing.assert_allclose(got.learning_rate[index], rows[:, 2], rtol=1e-12)
    np.testing.assert_allclose(got.learning_rate[index], rows[:, 3], rtol=1e-12)
    np.testing.assert_allclose(got.bias_learning_rate[index], rows[:, 4], rtol=1e-12)
    np.testing.assert_allclose(got.momentum[index], rows[:, 5], rtol=1e-12)
    np.testing.assert_array_equal(got.accumulate[index], rows[:, 6])
    flag = np.arange(run.total_steps) % got.accumulate == 0
    np.testing.assert_array_equal(flag[index], rows[:, 7])
    np.testing.assert_array_equal(np.cumsum(flag)[index], rows[:, 8])
    assert flag.sum() == facts["total_optimizer_steps"]
    assert optim.warmup_steps(ORIGINAL, run) == facts["warmup_iters"]
    assert optim.scaled_weight_decay(ORIGINAL, batch) == pytest.approx(
        facts["weight_decay_scaled"], rel=1e-12
    )
    # In float32, as it runs in training, no optimiser step moves.
    float32 = schedule(jnp.arange(run.total_steps), ORIGINAL, run)
    assert float32.learning_rate.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(float32.accumulate), got.accumulate)


def test_without_the_lag_every_epoch_has_its_own_rate():
    run = optim.RunLength(batch_size=64, steps_per_epoch=10, total_steps=100)
    config = optim.OptimConfig(warmup_epochs=1.0, warmup_min_steps=0)
    rate = np.asarray(schedule(jnp.arange(100), config, run).learning_rate)[11:]
    lf = (1 + np.cos(np.pi * np.arange(10) / 10)) / 2 * 0.8 + 0.2
    np.testing.assert_allclose(rate, 0.01 * np.repeat(lf, 10)[11:], rtol=1e-6)


def test_short_run_with_a_warmup_in_steps_and_a_smooth_cosine():
    run = optim.RunLength(batch_size=16, steps_per_epoch=7, total_steps=40)
    config = optim.OptimConfig(
        optimizer="adamw", warmup_epochs=0.0, warmup_min_steps=10, cosine_per_step=True,
        warmup_bias_learning_rate=0.0, final_ratio=0.0, nominal_batch=16,
    )  # fmt: skip
    got = schedule(jnp.arange(41), config, run)
    steps = np.arange(41)
    expected = 0.01 * np.minimum(steps / 10, 1) * (1 + np.cos(np.pi * steps / 40)) / 2
    np.testing.assert_allclose(got.learning_rate, expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(got.accumulate), 1)
    no_warmup = optim.OptimConfig(warmup_epochs=0.0, warmup_min_steps=0)
    first = optim.hyperparameters(0, no_warmup, run)
    assert float(first.learning_rate) == pytest.approx(0.01)
    assert float(first.momentum) == pytest.approx(0.937)


def test_adamw_by_hand():
    config = optim.OptimConfig(
        optimizer="adamw", momentum=0.9, weight_decay=0.1, warmup_bias_learning_rate=0.0
    )
    run = optim.RunLength(batch_size=64, steps_per_epoch=10, total_steps=100)
    params = {"conv": {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([0.5])}}
    grads = {"conv": {"kernel": jnp.array([0.3, -4.0]), "bias": jnp.array([-0.2])}}
    optimizer = optim.make_optimizer(config, run)
    now = optim.Hyperparameters(*jnp.array([0.01, 0.02, 0.9]), jnp.array(1))
    updates, _ = jax.jit(optimizer.update)(
        grads, optimizer.init(params), params, hyperparameters=now
    )
    # The first Adam step is the sign of the gradient, whatever its size.
    np.testing.assert_allclose(
        updates["conv"]["kernel"], -0.01 * (np.array([1.0, -1.0]) + 0.1 * np.array([2.0, -1.0])),
        rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(updates["conv"]["bias"], [0.02], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_moving_average_is_the_original_s(golden, dtype):
    z = np.load(golden / "schedule" / "ema.npz")

    def update(average, given):
        t, values = given
        decay = optim.ema_decay(t, PLAIN)
        average = optim.ema_update({"x": average}, {"x": values}, decay)["x"]
        return average, (decay, average)

    with jax.enable_x64(dtype == jnp.float64):
        given = (jnp.arange(1, 2001), jnp.asarray(z["source"], dtype))
        start = jnp.array([0.5, -1.0], dtype)
        _, (decay, average) = jax.jit(lambda s, g: jax.lax.scan(update, s, g))(start, given)
    np.testing.assert_allclose(decay, z["decay"], rtol=1e-6)
    np.testing.assert_allclose(average, z["ema"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_gradients_are_clipped_together_before_anything_else(name):
    """A limit of 2.5 halves a gradient of norm 5, and leaves a smaller one and zeros alone."""
    run = optim.RunLength(batch_size=64, steps_per_epoch=10, total_steps=100)
    given = {"optimizer": name, "warmup_bias_learning_rate": 0.0, "weight_decay": 0.1}
    params = {"conv": {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([0.5])}}
    now = optim.Hyperparameters(*jnp.array([0.01, 0.02, 0.9]), jnp.array(1))

    def updates(scale, **changes):
        optimizer = optim.make_optimizer(optim.OptimConfig(**given, **changes), run)
        state = optimizer.init(params)
        for grads in ([3.0, 0.0, -4.0], [1.0, 1.0, 1.0]):  # the second shows Adam's moments too
            kernel, bias = jnp.array(grads[:2]) * scale, jnp.array(grads[2:]) * scale
            tree = {"conv": {"kernel": kernel, "bias": bias}}
            updates, state = jax.jit(optimizer.update)(tree, state, params, hyperparameters=now)
            scale = 1.0
        return jax.tree.leaves(updates)

    np.testing.assert_allclose(
        np.concatenate(updates(1.0, clip_norm=2.5)), np.concatenate(updates(0.5)), rtol=1e-6
    )
    for scale in (1.0, 0.0):
        limited, free = updates(scale, clip_norm=5.1), updates(scale)
        np.testing.assert_array_equal(np.concatenate(limited), np.concatenate(free))
    assert not np.allclose(np.concatenate(updates(1.0)), np.concatenate(updates(0.5)))


def test_groups_of_a_small_tree():
    z = np.zeros(1)
    unit = {"conv": {"kernel": z}, "bn": {"scale": z, "bias": z}}
    head = {"implicit_before": {"z": z}, "conv": {"kernel": z, "bias": z},
            "implicit_after": {"dense": {"kernel": z, "bias": z}}}  # fmt: skip
    assert optim.parameter_groups({"backbone": {"stem": unit}, "head": head}) == {
        "backbone": {
            "stem": {"conv": {"kernel": "kernel"}, "bn": {"scale": "scale", "bias": "bias"}}
        },
        "head": {
            "implicit_before": {"z": "scale"},
            "conv": {"kernel": "kernel", "bias": "bias"},
            "implicit_after": {"dense": {"kernel": "scale", "bias": "scale"}},
        },
    }


def test_every_parameter_must_have_a_group():
    run = optim.RunLength(batch_size=8, steps_per_epoch=1, total_steps=1)
    for name in ("sgd", "adamw"):
        config = optim.OptimConfig(optimizer=name, warmup_bias_learning_rate=0.0)
        with pytest.raises(ValueError, match="head/table"):
            optim.make_optimizer(config, run).init({"head": {"table": jnp.zeros(3)}})


def test_bad_choices_are_refused():
    with pytest.raises(ValueError, match=r"'lion'.*adamw.*sgd"):
        optim.OptimConfig(optimizer="lion")
    with pytest.raises(ValueError, match=r"clip_norm is -1.0: expected 0 to inf"):
        optim.OptimConfig(clip_norm=-1.0)
    with pytest.raises(ValueError, match="not both"):
        optim.OptimConfig(cosine_per_step=True, lag_one_epoch=True)
    with pytest.raises(ValueError, match="warmup_bias_learning_rate=0"):
        optim.OptimConfig(optimizer="adamw")
    with pytest.raises(ValueError, match="steps_per_epoch is 0"):
        optim.RunLength(batch_size=8, steps_per_epoch=0, total_steps=1)


@pytest.mark.parametrize(
    ("model", "file"),
    [("yolor_csp", "main_yolor_csp"), ("yolor_p6_paper", "paper_yolor-p6")],
)
def test_every_parameter_is_in_the_original_s_group(golden, model, file):
    facts = json.loads((golden / "schedule" / f"param_groups_{file}.json").read_text())
    expected = {
        name: group
        for number, group in enumerate(("scale", "kernel", "bias"))
        for name in facts[f"pg{number}"]
    }
    module = detector.build(model)
    params = detector.variable_shapes(module)["params"]
    groups = trees.flatten_by_path(optim.parameter_groups(params))
    names = torch_names(module.spec).items()
    got = {name: groups[path] for name, (kind, path) in names if kind == "params"}
    assert got == expected
    assert len(expected) == len(groups) == sum(facts["counts"])


def test_all_stored_schedules_are_looked_at(golden):
    stored = np.load(golden / "schedule" / "lr.npz").files
    assert sorted(stored) == sorted(f"nb{n}_bs{b}" for n in (50, 500) for b in (8, 16, 64))
    facts = json.loads((golden / "schedule" / "lr.json").read_text())
    assert sorted(facts) == sorted(stored)
