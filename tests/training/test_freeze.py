"""Frozen parameters and statistics stay as they are to the bit; the rest is trained as before."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.training import freeze, optim, state, step
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints import checkpoint
from yolor_jax.trees import flatten_by_path

SCHEDULE = {"weight_decay": 0.3, "ema_tau": 3.0}


class Two(nn.Module):
    """Two convolutions with batch norms and an implicit addition."""

    dtype: object = jnp.float32

    def setup(self):
        self.front = ConvUnit(4, 3)
        self.back = ConvUnit(4, 3)
        self.implicit_z = self.param("implicit_z", nn.initializers.normal(0.02), (1, 1, 1, 4))

    def __call__(self, images, *, train):
        return self.rest(self.front(images, train=train), train=train)

    def rest(self, x, *, train):
        return tiny_run.Outputs(detect=(self.back(x, train=train) + self.implicit_z,))


def train(config, *, steps=4, batch_size=8):
    """The state before and after some steps, both on the host."""
    mesh, module, run = tiny_run.one_device(), Two(), tiny_run.run_length(batch_size)
    now = tiny_run.start(module, config, run, mesh)
    now = now.replace(  # statistics that inference could not mistake for those of a batch
        batch_stats=jax.tree.map(lambda x: x + 0.3, now.batch_stats),
        ema_batch_stats=jax.tree.map(lambda x: x + 0.3, now.batch_stats),
    )
    now = state.place_state(mesh, now)
    before = jax.device_get(now)
    train_step = step.make_train_step(
        module, augment=tiny_run.no_augment, loss=tiny_run.square_loss, config=config, run=run,
        mesh=mesh, shardings=meshes.state_sharding(mesh, now),
    )  # fmt: skip
    for seed in range(steps):
        batch = meshes.shard_batch(mesh, tiny_run.make_batch(batch_size, seed=seed))
        now, metrics = train_step(now, batch, jax.random.key(0))
    return before, jax.device_get(now), jax.device_get(metrics)


def changed(before, after):
    """Paths of the leaves that are not the same bits, in the moving averages like in the rest."""
    parts = [("params", "batch_stats"), ("ema_params", "ema_batch_stats")]
    found = []
    for names in parts:
        old = {n.removeprefix("ema_"): getattr(before, n) for n in names}
        new = {n.removeprefix("ema_"): getattr(after, n) for n in names}
        old, new = flatten_by_path(old), flatten_by_path(new)
        found.append({path for path in old if old[path].tobytes() != new[path].tobytes()})
    assert found[0] == found[1]
    return found[0]


ALL = {
    *(f"params/{u}/{leaf}" for u in ("front", "back") for leaf in ("conv/kernel", "bn/scale")),
    *(f"params/{u}/bn/bias" for u in ("front", "back")),
    *(f"batch_stats/{u}/bn/{leaf}" for u in ("front", "back") for leaf in ("mean", "var")),
    "params/implicit_z",
}


@pytest.mark.parametrize("nominal_batch", [8, 24], ids=["each step", "accumulated"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_does_not_change_and_the_rest_does(optimizer, nominal_batch):
    config = tiny_run.quick(
        optimizer=optimizer, freeze="^front/", nominal_batch=nominal_batch,
        warmup_bias_learning_rate=0.0, **SCHEDULE,
    )  # fmt: skip
    before, after, _ = train(config)
    assert changed(before, after) == {path for path in ALL if "/front/" not in path}
    assert all("front" not in path for path in flatten_by_path(after.opt_state))
    before, after, _ = train(tiny_run.quick(optimizer=optimizer, warmup_bias_learning_rate=0.0))
    assert changed(before, after) == ALL


@pytest.mark.parametrize(
    ("regex", "fixed"),
    [
        (
            "bn/(scale|bias)$",
            {path for path in ALL if "/bn/" in path},  # frozen batch norms, trained kernels
        ),
        ("front/bn/scale", {"params/front/bn/scale"}),  # half a batch norm: its statistics move
        ("^front/conv", {"params/front/conv/kernel"}),
        ("^(?!.*implicit)", ALL - {"params/implicit_z"}),
    ],
)
def test_statistics_are_frozen_with_both_parameters_of_their_batch_norm(regex, fixed):
    before, after, _ = train(tiny_run.quick(freeze=regex, **SCHEDULE))
    assert changed(before, after) == ALL - fixed


def test_a_frozen_part_is_the_function_that_it_is_in_inference():
    """One step by hand: the gradient through a front that runs with its running statistics."""
    config = tiny_run.quick(freeze="^front/", momentum=0.0, weight_decay=0.0)
    before, after, metrics = train(config, steps=1)
    module, batch = Two(), tiny_run.make_batch(8)
    images = jnp.asarray(batch.image, jnp.float32) / 255.0
    whole = {"params": before.params, "batch_stats": before.batch_stats}
    whole = jax.tree.map(jnp.asarray, whole)
    features = ConvUnit(4, 3).apply(
        {name: tree["front"] for name, tree in whole.items()}, images, train=False
    )

    def objective(params):
        outputs, _ = module.apply(
            whole | {"params": params}, features, train=True, mutable=["batch_stats"],
            method=Two.rest,
        )  # fmt: skip
        return tiny_run.square_loss(outputs, batch)[0]

    gradients = jax.grad(objective)(whole["params"])
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, before.params, gradients)
    for path, leaf in flatten_by_path(after.params).items():
        np.testing.assert_allclose(
            leaf, flatten_by_path(expected)[path], rtol=1e-5, atol=1e-6, err_msg=path
        )
    trained = [g for path, g in flatten_by_path(gradients).items() if "front" not in path]
    norm = np.sqrt(sum(float((g**2).sum()) for g in trained))
    assert float(metrics["gradient_norm"][0]) == pytest.approx(norm, rel=1e-5)


def test_what_only_frozen_parameters_need_is_not_computed():
    def flops(regex):
        config, run = tiny_run.quick(freeze=regex), tiny_run.run_length(8)
        mesh = tiny_run.one_device()
        now = state.abstract_state(Two(), config, run, image_size=tiny_run.SIZE, mesh=mesh)
        train_step = step.make_train_step(
            Two(), augment=tiny_run.no_augment, loss=tiny_run.square_loss, config=config, run=run,
            mesh=mesh, shardings=meshes.state_sharding(mesh, now),
        )  # fmt: skip
        lowered = train_step.lower(now, tiny_run.make_batch(8), jax.random.key(0))
        return lowered.compile().cost_analysis()["flops"]

    # Two convolutions forward and backward, where the first needs no gradient of the image.
    front, back = 2 * 8 * 64 * 27 * 4, 2 * 8 * 64 * 36 * 4
    assert flops("") - flops("^front/") > 0.7 * (front + back)


def test_a_run_with_frozen_parameters_is_saved_and_restored(tmp_path):
    config = tiny_run.quick(freeze="^front/")
    _, after, _ = train(config)
    mesh = meshes.make_mesh()
    expected = state.abstract_state(
        Two(), config, tiny_run.run_length(8), image_size=tiny_run.SIZE, mesh=mesh
    )
    with checkpoint.Checkpoints(tmp_path, {}) as checkpoints:
        checkpoints.save(4, state.place_state(mesh, after), position=0)
        checkpoints.wait()
        restored, _ = checkpoints.restore(expected)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored), after)


def test_the_average_of_a_constant_is_that_constant():
    values = {"x": jnp.asarray(np.random.default_rng(0).standard_normal(1000), jnp.float32)}

    def update(average, t):
        return optim.ema_update(average, values, optim.ema_decay(t, optim.OptimConfig())), None

    last, _ = jax.jit(lambda v: jax.lax.scan(update, v, jnp.arange(1, 3000)))(values)
    np.testing.assert_array_equal(last["x"], values["x"])


def test_expressions_that_cannot_be_meant():
    shapes = variable_shapes(build("yolor_test", 3))["params"]
    with pytest.raises(ValueError, match=r"'bakbone', which matches no parameter.*backbone/"):
        freeze.frozen(shapes, "bakbone")
    with pytest.raises(ValueError, match=r"'.', which matches every parameter; expected"):
        optim.make_optimizer(tiny_run.quick(freeze="."), tiny_run.run_length(8)).init(shapes)
    with pytest.raises(ValueError, match=r"'\(', which is no regular expression: missing"):
        optim.OptimConfig(freeze="(")
    sizes = {path: leaf.size for path, leaf in flatten_by_path(shapes).items()}
    assert freeze.count(shapes, "^backbone/") == sum(
        size for path, size in sizes.items() if path.startswith("backbone")
    )
    assert freeze.count(shapes, "implicit_before") == 3 * 16
    assert freeze.count(shapes, "") == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_optimiser_alone_does_not_move_what_is_frozen(optimizer):
    config = tiny_run.quick(optimizer=optimizer, freeze="^a/", warmup_bias_learning_rate=0.0)
    run = tiny_run.run_length(8)
    params = {"a": {"kernel": jnp.ones(3)}, "b": {"kernel": jnp.ones(3)}}
    optimizer = optim.make_optimizer(config, run)
    now = optim.hyperparameters(0, config, run)
    updates, _ = optimizer.update(params, optimizer.init(params), params, hyperparameters=now)
    np.testing.assert_array_equal(updates["a"]["kernel"], 0.0)
    assert (updates["b"]["kernel"] < 0).all()
