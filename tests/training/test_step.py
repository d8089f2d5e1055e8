"""The step against the original's trajectory, itself on other meshes, and values by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import tiny_run
from yolor_jax.augment.batch import augment as augment_batch
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.detection.losses import LossConfig
from yolor_jax.models import detector
from yolor_jax.training import mesh as meshes
from yolor_jax.training import optim, state, step


def make(module, config, run, mesh, *, loss=tiny_run.square_loss, augment=tiny_run.no_augment,
         size=tiny_run.SIZE, penalty=None):  # fmt: skip
    """A step and its first state."""
    first = tiny_run.start(module, config, run, mesh, size=size)
    shardings = meshes.state_sharding(mesh, first)
    train_step = step.make_train_step(
        module,
        augment=augment,
        loss=loss,
        config=config,
        run=run,
        mesh=mesh,
        shardings=shardings,
        penalty=penalty,
    )
    return train_step, first


def put(mesh, batch):
    return meshes.shard_batch(mesh, batch)


def key(mesh, seed=0):
    return jax.device_put(jax.random.key(seed), meshes.replicated(mesh))


def test_accumulation_and_momentum_follow_the_original(golden):
    z = np.load(golden / "schedule" / "optim.npz")
    run = optim.RunLength(batch_size=16, steps_per_epoch=50, total_steps=50 * 300)
    config = optim.OptimConfig(lag_one_epoch=True, drop_gradients_at_epoch_start=True)
    names = ("bn/scale", "plain/kernel", "conv/bias")

    def tree(rows):
        return {
            a: {b: jnp.asarray(rows[i])} for i, (a, b) in enumerate(n.split("/") for n in names)
        }

    factors, centres = tree(z["A"]), tree(z["C"])
    apply_gradients = step.make_apply_gradients(config, run)

    def micro_step(carry, index):
        phase = 1.0 + 0.5 * jnp.sin(0.05 * index.astype(jnp.float32))
        gradients = jax.tree.map(
            lambda p, a, c: 0.05 * a * (p - c * phase), carry.params, factors, centres
        )
        now = optim.hyperparameters(carry.step, config, run)
        carry = apply_gradients(carry, gradients, now).replace(step=carry.step + 1)
        return carry, carry.params

    first = state.new_state({"params": tree(z["P0"])}, config, run)
    last, history = jax.jit(lambda s: jax.lax.scan(micro_step, s, jnp.arange(3000)))(first)
    got = np.stack([history[a][b] for a, b in (n.split("/") for n in names)], axis=1)
    np.testing.assert_allclose(got[z["ni"]], z["params"], atol=1e-5, rtol=0)
    rows = np.load(golden / "schedule" / "lr.npz")["nb50_bs16"]
    assert int(last.updates) == rows[rows[:, 0] == 2999, 8]


@pytest.mark.parametrize("drop", [False, True])
def test_gradients_waiting_at_the_end_of_an_epoch(drop):
    # Steps at 0, 3, 6; an epoch of 5 ends between 3 and 6, where the gradient of step 4 waits.
    config = tiny_run.quick(
        nominal_batch=6, drop_gradients_at_epoch_start=drop, momentum=0.0, weight_decay=0.0,
        final_ratio=1.0, warmup_momentum=0.0, ema_tau=2.0,
    )  # fmt: skip
    run = tiny_run.run_length(2)
    apply_gradients = step.make_apply_gradients(config, run)
    now = state.new_state({"params": {"x": {"bias": jnp.zeros(1)}}}, config, run)
    values, averages = [], []
    for index in range(7):
        gradients = {"x": {"bias": jnp.full(1, 2.0**index)}}
        schedule = optim.hyperparameters(now.step, config, run)
        now = apply_gradients(now, gradients, schedule).replace(step=now.step + 1)
        values.append(float(now.params["x"]["bias"][0]))
        averages.append(float(now.ema_params["x"]["bias"][0]))
    last = 32 + 64 if drop else 16 + 32 + 64
    np.testing.assert_allclose(values, -0.1 * np.array([1, 1, 1, 15, 15, 15, 15 + last]), rtol=1e-6)
    assert int(now.updates) == 3
    # The moving average moves with the optimiser steps, and counts these.
    average, expected = 0.0, []
    for number, index in enumerate((0, 3, 6), 1):
        keep = 0.9999 * (1 - np.exp(-number / 2))
        average = keep * average + (1 - keep) * values[index]
        expected += [average] * 3
    np.testing.assert_allclose(averages, expected[:7], rtol=1e-5)


def in_float64(state):
    """A state whose float32 leaves are float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)


def test_eight_devices_compute_what_one_computes():
    # In float64: the convolution's bias stands before a batch norm, so that its gradient is zero
    # but for rounding, which in float32 is of another size on each kind of processor.
    config, run = tiny_run.quick(nominal_batch=32), tiny_run.run_length(16)
    results = []
    with jax.enable_x64(True):
        for mesh in (tiny_run.one_device(), meshes.make_mesh(), meshes.make_mesh(fsdp=4)):
            train_step, now = make(tiny_run.Tiny(dtype=jnp.float64), config, run, mesh)
            now = in_float64(now)
            for seed in range(3):
                batch = put(mesh, tiny_run.make_batch(16, seed=seed))
                now, metrics = train_step(now, batch, key(mesh))
            assert batch.image.sharding.shard_shape(batch.image.shape)[0] == 16 // mesh.size
            results.append(tiny_run.host((now, metrics)))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)
    jax.tree.map(close, results[0], results[1])
    jax.tree.map(close, results[0], results[2])


def test_one_compilation_without_hidden_transfers_and_the_state_is_donated():
    mesh = meshes.make_mesh()
    traces = []

    def loss(outputs, batch):
        traces.append(batch.image.shape)
        return tiny_run.square_loss(outputs, batch)

    config, run = tiny_run.quick(nominal_batch=64, warmup_min_steps=4), tiny_run.run_length(16)
    train_step, now = make(tiny_run.Tiny(), config, run, mesh, loss=loss)
    first = now
    root = key(mesh)
    with jax.transfer_guard("disallow"):
        for seed in range(7):
            now, metrics = train_step(now, put(mesh, tiny_run.make_batch(16, seed=seed)), root)
        jax.device_get(metrics)
    assert len(traces) == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first.params))
    assert int(now.step) == 7
    larger = tiny_run.make_batch(16, size=(16, 16))
    train_step(now, put(mesh, larger), root)
    assert len(traces) == 2


def test_first_update_by_hand():
    """Plain gradient descent, moving averages and metrics of one step."""
    mesh, module, run = tiny_run.one_device(), tiny_run.Tiny(), tiny_run.run_length(4)
    config = tiny_run.quick(momentum=0.0, weight_decay=0.5, warmup_bias_learning_rate=9.0)
    train_step, first = make(module, config, run, mesh)
    before = jax.tree.map(jnp.copy, first)
    batch = tiny_run.make_batch(4)
    after, metrics = train_step(first, put(mesh, batch), key(mesh))

    def objective(params):
        variables = {"params": params, "batch_stats": before.batch_stats}
        images = jnp.asarray(batch.image, jnp.float32) / 255.0
        outputs, updated = module.apply(variables, images, train=True, mutable=["batch_stats"])
        return tiny_run.square_loss(outputs, batch)[0], updated["batch_stats"]

    gradients, statistics = jax.grad(objective, has_aux=True)(before.params)
    gradients = tiny_run.host(gradients)
    decay = 0.5 * 4 / 1
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, before.params, gradients)
    kernel = before.params["conv"]["kernel"]
    expected["conv"]["kernel"] = kernel - 0.1 * (gradients["conv"]["kernel"] + decay * kernel)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, tiny_run.host(after.params), expected)
    jax.tree.map(close, tiny_run.host(after.batch_stats), tiny_run.host(statistics))
    keep = 0.9999 * (1 - np.exp(-1 / 2000))
    blend = lambda a, v: keep * a + (1 - keep) * v  # noqa: E731
    jax.tree.map(
        close, tiny_run.host(after.ema_params), jax.tree.map(blend, before.params, expected)
    )
    jax.tree.map(
        close,
        tiny_run.host(after.ema_batch_stats),
        jax.tree.map(blend, before.batch_stats, tiny_run.host(statistics)),
    )
    got = {name: float(total) / float(count) for name, (total, count) in metrics.items()}
    norm = float(optax.global_norm(gradients))
    assert got == pytest.approx(
        {"loss/total": got["loss/total"], "gradient_norm": norm, "learning_rate": 0.1,
         "bias_learning_rate": 0.1, "momentum": 0.0, "targets": 1.5}, rel=1e-5,
    )  # fmt: skip
    assert got["loss/total"] == pytest.approx(float(objective(before.params)[0]) / 4, rel=1e-5)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(metrics))


def test_a_clipped_step_reports_the_norm_before_clipping():
    """Plain gradient descent: two batches wait for one step, whose sum is cut to the limit."""
    mesh, run = tiny_run.one_device(), tiny_run.run_length(4)
    config = tiny_run.quick(momentum=0.0, warmup_momentum=0.0, nominal_batch=8, weight_decay=0.0)
    moved, norms = [], []
    for limit in (0.0, 0.25):
        train_step, now = make(
            tiny_run.Tiny(), dataclasses.replace(config, clip_norm=limit), run, mesh
        )
        now, _ = train_step(now, put(mesh, tiny_run.make_batch(4)), key(mesh))
        before = tiny_run.host(now.params)
        for seed in (1, 2):
            batch = put(mesh, tiny_run.make_batch(4, seed=seed))
            now, metrics = train_step(now, batch, key(mesh))
            norms.append(float(metrics["gradient_norm"][0]))
        assert int(now.updates) == 2
        difference = jax.tree.map(lambda a, b: a - b, tiny_run.host(now.params), before)
        moved.append(float(optax.global_norm(difference)))
    assert min(norms) > 0.25
    assert moved[1] == pytest.approx(0.1 * 0.25, rel=1e-4) and moved[0] > 2 * moved[1]


def test_a_penalty_counts_for_each_image():
    """Plain gradient descent: 4 images, half the sum of magnitudes, a learning rate of 0.1."""
    mesh, run = tiny_run.one_device(), tiny_run.run_length(4)
    config = tiny_run.quick(momentum=0.0)
    penalty = lambda params: 0.5 * jnp.abs(params["implicit"]).sum()  # noqa: E731
    results = []
    for one in (None, penalty):
        train_step, first = make(tiny_run.Tiny(), config, run, mesh, penalty=one)
        z = np.asarray(first.params["implicit"])
        after, metrics = train_step(first, put(mesh, tiny_run.make_batch(4)), key(mesh))
        results.append(np.asarray(after.params["implicit"]))
    assert metrics["loss/penalty"][0] == pytest.approx(0.5 * np.abs(z).sum(), rel=1e-6)
    np.testing.assert_allclose(results[1] - results[0], -0.1 * 4 * 0.5 * np.sign(z), atol=1e-6)


def test_random_numbers_follow_from_key_and_step_alone():
    mesh, run = meshes.make_mesh(), tiny_run.run_length(8)

    def augment(key, batch, step):
        flip = jax.random.bits(key, batch.image.shape, jnp.uint8)
        return batch._replace(image=batch.image ^ flip)

    train_step, now = make(tiny_run.Tiny(), tiny_run.quick(learning_rate=0.0), run, mesh,
                           augment=augment)  # fmt: skip
    kept = tiny_run.host(now)
    batch = put(mesh, tiny_run.make_batch(8))

    def loss_at(index, seed):
        fresh = state.place_state(mesh, kept.replace(step=np.int32(index)))
        return float(train_step(fresh, batch, key(mesh, seed))[1]["loss/total"][0])

    assert loss_at(0, 0) == loss_at(0, 0)
    assert len({loss_at(0, 0), loss_at(1, 0), loss_at(0, 1)}) == 3


def test_the_detection_loss_ignores_crowds():
    module = detector.build("yolor_test", 3)
    loss = jax.jit(
        step.make_detection_loss(
            anchors=module.spec.anchors, strides=module.spec.strides, config=LossConfig()
        )
    )
    draw = np.random.default_rng(0)
    levels = tuple(np.float32(draw.normal(size=(2, side, side, 3, 8))) for side in (4, 2, 1))
    batch = tiny_run.make_batch(2, size=(32, 32))
    second = np.arange(3)[None] == 2
    crowd = batch._replace(is_crowd=batch.mask & second)
    without = batch._replace(mask=batch.mask & ~second)
    losses = [float(loss(detector.Outputs(levels), given)[0]) for given in (batch, crowd, without)]
    assert losses[1] == losses[2] != losses[0]


@pytest.mark.long
def test_the_real_loss_ignores_crowds_and_runs_in_bfloat16():
    mesh = meshes.make_mesh(jax.devices()[:2])
    module = detector.build("yolor_test", 3, dtype=jnp.bfloat16)
    loss = step.make_detection_loss(
        anchors=module.spec.anchors, strides=module.spec.strides, config=LossConfig()
    )
    size = (module.spec.strides[-1],) * 2
    train_step, now = make(
        module, tiny_run.quick(), tiny_run.run_length(8), mesh, loss=loss, size=size
    )
    kept = tiny_run.host(now)
    batch = tiny_run.make_batch(8, size=size)
    second = np.arange(3)[None] == 2
    crowd = batch._replace(is_crowd=batch.mask & second)
    without = batch._replace(mask=batch.mask & ~second)
    losses = []
    for given in (batch, crowd, without):
        after, metrics = train_step(state.place_state(mesh, kept), put(mesh, given), key(mesh))
        losses.append({k: float(v[0]) for k, v in metrics.items() if k.startswith("loss/")})
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(tiny_run.host(after)))
    assert losses[1] == losses[2] != losses[0]
    assert set(losses[0]) == {"loss/box", "loss/objectness", "loss/classification", "loss/total"}
    assert {x.dtype for x in jax.tree.leaves((after.params, after.batch_stats))} == {
        jnp.dtype(jnp.float32)
    }


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    mesh, run = meshes.make_mesh(), tiny_run.run_length(12)
    with pytest.raises(ValueError, match=r"12 is not a multiple of the 8 devices .* use 8 or 16"):
        make(tiny_run.Tiny(), tiny_run.quick(), run, mesh)
    with pytest.raises(ValueError, match=r"3 is not a multiple of the 8 devices .* use 8"):
        meshes.shard_batch(mesh, tiny_run.make_batch(3))
    with pytest.raises(ValueError, match="fsdp is 3"):
        meshes.make_mesh(fsdp=3)


def test_abstract_state_is_the_state():
    mesh, run = meshes.make_mesh(), tiny_run.run_length(8)
    config = tiny_run.quick(nominal_batch=64)
    abstract = state.abstract_state(
        tiny_run.Tiny(), config, run, image_size=tiny_run.SIZE, mesh=mesh
    )
    real = tiny_run.start(tiny_run.Tiny(), config, run, mesh)
    describe = lambda x: (x.shape, x.dtype, x.sharding)  # noqa: E731
    assert jax.tree.map(describe, abstract) == jax.tree.map(describe, real)


@pytest.mark.long
def test_eight_devices_compute_what_one_computes_with_the_real_network_and_loss():
    # In float64: over the few samples of the deepest maps, float32 loses three digits. Targets and
    # metrics stay float32.
    with jax.enable_x64(True):
        module = detector.build("yolor_test", 3, dtype=jnp.float64)
        loss = step.make_detection_loss(
            anchors=module.spec.anchors, strides=module.spec.strides, config=LossConfig()
        )
        config_of_images = AugmentConfig(group=4)

        def augmented(key, batch, step):
            return augment_batch(key, batch, config_of_images)

        results = []
        for mesh in (tiny_run.one_device(), meshes.make_mesh(fsdp=2)):
            train_step, now = make(
                module, tiny_run.quick(), tiny_run.run_length(8), mesh,
                loss=loss, augment=augmented, size=(64, 64),
            )  # fmt: skip
            now = in_float64(now)
            for seed in range(2):
                batch = put(mesh, tiny_run.make_batch(8, seed=seed, size=(64, 64)))
                now, metrics = train_step(now, batch, key(mesh))
            results.append(tiny_run.host((now, metrics)))
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), *results)
