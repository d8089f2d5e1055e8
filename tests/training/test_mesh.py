"""What lies where on eight devices, and that it changes neither the numbers nor what is saved."""

import functools
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from tests.support import tiny_run
from yolor_jax.models import detector
from yolor_jax.nn.batch_norm import BatchNorm
from yolor_jax.training import mesh as meshes
from yolor_jax.training import state, step
from yolor_jax.training.checkpoints import checkpoint

RUN = tiny_run.run_length(16)
CONFIG = tiny_run.quick(nominal_batch=32)
META = {"model": {"name": "wide"}}


class Wide(nn.Module):
    """A network of which one kernel, 3 x 3 x 32 x 16, is large enough to be cut."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = nn.Conv(32, (3, 3), name="first", use_bias=False)(images)
        x = jax.nn.silu(BatchNorm(epsilon=1e-3, momentum=0.03, name="bn")(x, train=train))
        return tiny_run.Outputs(detect=(nn.Conv(16, (3, 3), name="last")(x),))


def large_leaves(now):
    """The four places where the large kernel's size occurs: for each, its spec."""
    trees = (now.params, now.ema_params, now.gradients)
    momentum = [x for x in jax.tree.leaves(now.opt_state) if x.size == 9 * 32 * 16]
    return [t["last"]["kernel"] for t in trees] + momentum


@pytest.mark.parametrize(
    ("shape", "fsdp", "spec"),
    [
        ((3, 3, 64, 128), 1, ()),  # nothing to share
        ((3, 3, 64, 128), 4, (None, None, None, "fsdp")),  # the largest axis
        ((3, 3, 128, 64), 4, (None, None, "fsdp")),
        ((3, 3, 64, 64), 4, (None, None, "fsdp")),  # the first of equal ones
        ((1, 1, 64, 255), 8, (None, None, "fsdp")),  # 255 is larger, but not even
        ((1, 1, 63, 255), 8, ()),  # none can be cut evenly
        ((2048,), 8, ("fsdp",)),
        ((2040,), 8, ()),  # small
        ((), 8, ()),
    ],
)
def test_the_rule_of_what_is_cut(shape, fsdp, spec):
    mesh = meshes.make_mesh(fsdp=fsdp)
    got = meshes.state_sharding(mesh, {"x": jax.ShapeDtypeStruct(shape, jnp.float32)})["x"]
    assert got.spec == PartitionSpec(*spec)
    assert got.mesh.shape == {"data": 8 // fsdp, "fsdp": fsdp}


def test_bytes_per_device_fall():
    """All leaves of yolor_csp but 0.2 % of the bytes are cut: an eighth and those remain."""
    shapes = detector.variable_shapes(detector.build("yolor_csp"))["params"]
    sizes = {}
    for fsdp in (1, 2, 4, 8):
        shardings = meshes.state_sharding(meshes.make_mesh(fsdp=fsdp), shapes)
        shards = jax.tree.map(lambda leaf, s: s.shard_shape(leaf.shape), shapes, shardings)
        leaves = jax.tree.leaves(shards, is_leaf=lambda x: isinstance(x, tuple))
        sizes[fsdp] = 4 * sum(int(np.prod(shape)) for shape in leaves)
    assert sizes[1] == 4 * sum(leaf.size for leaf in jax.tree.leaves(shapes))
    for fsdp in (2, 4, 8):
        assert 1 / fsdp < sizes[fsdp] / sizes[1] < 1 / fsdp + 0.002


@functools.cache
def trained(devices, fsdp):
    """State and metrics behind three steps, the first optimiser steps among them."""
    mesh = meshes.make_mesh(jax.devices()[:devices], fsdp=fsdp)
    module = Wide()
    now = tiny_run.start(module, CONFIG, RUN, mesh)
    train_step = step.make_train_step(
        module,
        augment=tiny_run.no_augment,
        loss=tiny_run.square_loss,
        config=CONFIG,
        run=RUN,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, now),
    )
    for seed in range(3):
        batch = meshes.shard_batch(mesh, tiny_run.make_batch(16, seed=seed))
        now, metrics = train_step(now, batch, jax.random.key(0))
    return now, tiny_run.host(metrics)


@pytest.mark.parametrize("fsdp", [1, 2, 4, 8])
def test_a_state_that_is_cut_trains_like_a_whole_one(fsdp):
    (one, one_metrics), (now, metrics) = trained(1, 1), trained(8, fsdp)

    def close(got, want):
        # Sums come in another order: their roundings are those of the largest, near zero too.
        largest = max(np.abs(want).max(initial=0), 1)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * largest)

    jax.tree.map(close, tiny_run.host(one), tiny_run.host(now))
    jax.tree.map(close, one_metrics, metrics)
    leaves = large_leaves(now)
    assert len(leaves) == 4
    for leaf in leaves:
        assert leaf.sharding.shard_shape(leaf.shape) == (3, 3, 32 // fsdp, 16)
    assert now.params["first"]["kernel"].sharding.is_fully_replicated


@pytest.mark.parametrize(("devices", "fsdp"), [(1, 1), (4, 4), (8, 1), (8, 8)])
def test_a_checkpoint_moves_to_another_mesh_to_the_bit(tmp_path, devices, fsdp):
    now, _ = trained(8, 4)
    mesh = meshes.make_mesh(jax.devices()[:devices], fsdp=fsdp)
    expected = state.abstract_state(Wide(), CONFIG, RUN, image_size=tiny_run.SIZE, mesh=mesh)
    with checkpoint.Checkpoints(tmp_path, META) as checkpoints:
        checkpoints.save(3, now, position=48)
        checkpoints.wait()
        restored, position = checkpoints.restore(expected)
    assert position == 48
    jax.tree.map(np.testing.assert_array_equal, tiny_run.host(now), tiny_run.host(restored))
    places = lambda tree: jax.tree.map(lambda leaf: leaf.sharding, tree)  # noqa: E731
    assert places(restored) == places(expected)
    for leaf in large_leaves(restored):
        assert leaf.sharding.shard_shape(leaf.shape) == (3, 3, 32 // fsdp, 16)


def test_replicate_gathers_a_sharded_state():
    now, _ = trained(8, 8)
    mesh = now.params["last"]["kernel"].sharding.mesh
    together = meshes.replicate(mesh, now.ema_variables)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(together))
    jax.tree.map(
        np.testing.assert_array_equal, tiny_run.host(together), tiny_run.host(now.ema_variables)
    )


def test_devices_of_a_process_stand_side_by_side():
    # As on a v5e slice of 4 x 4 chips: a host has a square of four, not four in a row of ids.
    hosts = [0, 0, 1, 1, 0, 0, 1, 1]
    devices = [types.SimpleNamespace(id=i, process_index=p) for i, p in enumerate(hosts)]
    ordered = sorted(devices, key=meshes.process_and_id)
    assert [d.id for d in ordered] == [0, 1, 4, 5, 2, 3, 6, 7]
    mesh = meshes.make_mesh(jax.devices()[::-1], fsdp=4)
    assert mesh.devices.tolist() == [jax.devices()[:4], jax.devices()[4:]]


@pytest.mark.parametrize("fsdp", [0, 3, 16])
def test_an_axis_that_does_not_divide_the_devices_is_refused(fsdp):
    with pytest.raises(ValueError, match=rf"fsdp is {fsdp}, .* 8 devices: use one of \[1, 2, 4, 8"):
        meshes.make_mesh(fsdp=fsdp)


def test_all_processes_hear_the_same_answer_two_questions_later():
    said = [False, True, False, False, True]
    answer = meshes.any_process(meshes.make_mesh(fsdp=2), iter(said).__next__)
    assert [answer() for _ in said] == [False, False, False, True, False]
