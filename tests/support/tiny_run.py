"""A network of one convolution, batches and states for the tests of the training parts."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax.data.example import Batch
from yolor_jax.nn.batch_norm import BatchNorm
from yolor_jax.training import mesh as meshes
from yolor_jax.training import optim, state

SIZE = (8, 8)


class Outputs(NamedTuple):
    detect: tuple[jax.Array, ...]


class Tiny(nn.Module):
    """A convolution, a batch norm and an implicit addition: a leaf of each group."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = nn.Conv(4, (3, 3), dtype=self.dtype, name="conv")(images)
        x = BatchNorm(epsilon=1e-3, momentum=0.03, name="bn")(x, train=train)
        z = self.param("implicit", nn.initializers.normal(0.02), (1, 1, 1, 4))
        return Outputs(detect=(x.astype(self.dtype) + z.astype(self.dtype),))


def no_augment(key, batch, step):
    return batch


def square_loss(outputs, batch):
    """Squared distance of the map to each image's first label; float32."""
    target = batch.labels[:, :1, None, None].astype(jnp.float32)
    total = jnp.mean((outputs.detect[0].astype(jnp.float32) - target) ** 2)
    return total * batch.labels.shape[0], {"total": total}


def make_batch(batch_size: int, *, seed: int = 0, size=SIZE, targets: int = 3, classes: int = 3):
    """A batch on the host with random pixels; every other target is padding."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size[0] / 2, (batch_size, targets, 2))
    side = rng.uniform(size[0] / 8, size[0] / 2, (batch_size, targets, 2))
    return Batch(
        image=rng.integers(0, 256, (batch_size, *size, 3), dtype=np.uint8),
        boxes_xyxy=np.concatenate([corner, corner + side], -1).astype(np.float32),
        labels=rng.integers(0, classes, (batch_size, targets)).astype(np.int32),
        mask=np.arange(batch_size * targets).reshape(batch_size, targets) % 2 == 0,
        is_crowd=np.zeros((batch_size, targets), bool),
        index=np.arange(batch_size, dtype=np.int32) + seed * batch_size,
        original_size=np.full((batch_size, 2), size[0], np.int32),
        letterbox=np.tile(np.float32([1, 0, 0]), (batch_size, 1)),
        valid=np.ones(batch_size, bool),
        identity=np.full((batch_size, targets), -1, np.int32),
    )


def run_length(batch_size: int, *, total_steps: int = 100) -> optim.RunLength:
    return optim.RunLength(batch_size=batch_size, steps_per_epoch=5, total_steps=total_steps)


def quick(**changes) -> optim.OptimConfig:
    """No warm-up, no accumulation unless asked for."""
    values = {"warmup_epochs": 0.0, "warmup_min_steps": 0, "nominal_batch": 1, "learning_rate": 0.1}
    return optim.OptimConfig(**(values | changes))


def start(module, config, run, mesh, *, size=SIZE) -> state.TrainState:
    return state.init_state(module, config, run, key=jax.random.key(0), image_size=size, mesh=mesh)


def host(tree):
    return jax.tree.map(np.asarray, tree)


def one_device():
    return meshes.make_mesh(jax.devices()[:1])


def noise(leaf_size):
    """A state of eight leaves of so many numbers, which do not compress."""
    keys = jax.random.split(jax.random.key(0), 8)
    now = state.TrainState(*(jax.random.normal(key, (leaf_size,)) for key in keys))
    now = now.replace(params={"leaf": now.params}, ema_params={"leaf": now.ema_params})
    return jax.device_put(now, meshes.state_sharding(one_device(), now))
