"""All that a run carries from step to step, as one pytree without any module in it.

```python
state = init_state(module, config, run, key=jax.random.key(0), image_size=(640, 640), mesh=mesh)
state = new_state(variables, config, run)  # from given variables, for example pretrained ones
```
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from yolor_jax.training.learnt import of_network
from yolor_jax.training.mesh import state_sharding
from yolor_jax.training.optim import OptimConfig, RunLength, make_optimizer, nominal_accumulation


@flax.struct.dataclass
class TrainState:
    """The state of a training run.

    Attributes:
        step: int32, micro-steps (batches) done.
        updates: int32, optimiser steps done.
        params: parameters, float32.
        batch_stats: running statistics of the batch norms; {} where there are none.
        ema_params: moving average of ``params``: what is evaluated and shipped.
        ema_batch_stats: moving average of ``batch_stats``.
        opt_state: state of the optimiser.
        gradients: sum of the gradients since the last optimiser step, like ``params``; {} where
            every step is an optimiser step.
    """

    step: Any
    updates: Any
    params: PyTree
    batch_stats: PyTree
    ema_params: PyTree
    ema_batch_stats: PyTree
    opt_state: PyTree
    gradients: PyTree

    @property
    def ema_variables(self) -> dict[str, PyTree]:
        """The network's variables of the moving average, as ``module.apply`` takes them."""
        return of_network({"params": self.ema_params, "batch_stats": self.ema_batch_stats})


def new_state(variables: dict[str, PyTree], config: OptimConfig, run: RunLength) -> TrainState:
    """The state before the first step.

    Args:
        variables: ``params`` and, where there are any, ``batch_stats``.
        config: the optimiser.
        run: batch size and length.

    Returns:
        A state whose averages start at the variables themselves.
    """
    params = variables["params"]
    batch_stats = variables.get("batch_stats", {})
    accumulates = nominal_accumulation(config, run.batch_size) > 1
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        updates=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        # Copies: a step donates its state, and no buffer may be donated twice.
        ema_params=jax.tree.map(jnp.copy, params),
        ema_batch_stats=jax.tree.map(jnp.copy, batch_stats),
        opt_state=make_optimizer(config, run).init(params),
        gradients=jax.tree.map(jnp.zeros_like, params) if accumulates else {},
    )


def abstract_state(
    module: nn.Module,
    config: OptimConfig,
    run: RunLength,
    *,
    image_size: tuple[int, int],
    mesh: Mesh,
) -> TrainState:
    """Shapes, dtypes and shardings of a module's state, without computing anything.

    Args:
        module: takes images ``[B, H, W, 3]`` and ``train``.
        config: the optimiser.
        run: batch size and length.
        image_size: height and width of the network input in pixels.
        mesh: the devices.

    Returns:
        A state with a ``jax.ShapeDtypeStruct`` at each leaf, to restore a checkpoint into.
    """
    state = jax.eval_shape(_initializer(module, config, run, image_size), jax.random.key(0))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        state,
        state_sharding(mesh, state),
    )


def init_state(
    module: nn.Module,
    config: OptimConfig,
    run: RunLength,
    *,
    key: jax.Array,
    image_size: tuple[int, int],
    mesh: Mesh,
) -> TrainState:
    """A freshly initialised state on the devices; arguments as ``abstract_state``, plus the key."""
    init = _initializer(module, config, run, image_size)
    shardings = state_sharding(mesh, jax.eval_shape(init, key))
    # It runs once. On CPU, compiling hundreds of random draws with care takes longer than training.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_backend_optimization_level": 0} if on_cpu else None
    jitted = jax.jit(init, out_shardings=shardings, compiler_options=options)
    return jitted(key)


def place_state(mesh: Mesh, state: TrainState) -> TrainState:
    """Copy a state made from given variables (see ``new_state``) to its place on the mesh."""
    return jax.device_put(state, state_sharding(mesh, state), may_alias=False)


def _initializer(module, config, run, image_size):
    """A function of a key that gives the first state."""

    def init(key: jax.Array) -> TrainState:
        images = jnp.zeros((1, *image_size, 3), jnp.float32)
        return new_state(module.init(key, images, train=False), config, run)

    return init
