"""One training step: augment, network, loss, gradients, optimiser, moving average.

    step = make_train_step(
        module,
        augment=lambda key, batch, step: augment(key, batch, AugmentConfig()),
        loss=make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=LossConfig()),
        config=OptimConfig(),
        run=run,
        mesh=mesh,
        shardings=state_sharding(mesh, state),
    )
    state, metrics = step(state, shard_batch(mesh, batch), jax.random.key(seed))

The step is compiled once per shape of the batch, for all devices of the mesh. It donates its
argument ``state``: use the returned one. The random numbers of a step depend on the key and
``state.step`` alone.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from yolor_jax.data.example import Batch
from yolor_jax.detection.losses import LossConfig, detection_loss
from yolor_jax.models.detector import normalise
from yolor_jax.nn.batch_norm import BatchNorm
from yolor_jax.training.freeze import constant_batch_norms, stop_gradients
from yolor_jax.training.mesh import (
    batch_sharding,
    replicated,
    require_divisible,
    shard_batch,
)
from yolor_jax.training.optim import (
    Hyperparameters,
    OptimConfig,
    RunLength,
    ema_decay,
    ema_update,
    hyperparameters,
    make_optimizer,
    nominal_accumulation,
)
from yolor_jax.training.state import TrainState

Metrics = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]
"""Name -> (sum, count), float32."""
Augment = Callable[[jax.Array, Batch, Int[Array, ""]], Batch]
"""``(key, batch, step) -> batch``."""
Loss = Callable[[Any, Batch], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]
Penalty = Callable[[PyTree], Float[Array, ""]]
TrainStep = Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]
Advance = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
"""``(state, host_batch) -> (state, metrics)``: a step of a run, with its devices and its key."""


def make_detection_loss(
    *,
    anchors: tuple[tuple[tuple[float, float], ...], ...],
    strides: tuple[int, ...],
    config: LossConfig,
) -> Loss:
    """The loss of the outputs' ``detect`` on every target that is not a crowd.

    Args:
        anchors: per level, per anchor (width, height) in pixels of the network input.
        strides: per level, in pixels.
        config: gains and thresholds.

    Returns:
        ``loss(outputs, batch) -> (loss, terms)``.
    """

    def loss(outputs: Any, batch: Batch):
        return detection_loss(
            outputs.detect,
            batch.boxes_xyxy,
            batch.labels,
            batch.mask & ~batch.is_crowd,
            anchors=anchors,
            strides=strides,
            config=config,
        )

    return loss


def make_train_step(
    module: nn.Module,
    *,
    augment: Augment,
    loss: Loss,
    config: OptimConfig,
    run: RunLength,
    mesh: Mesh,
    shardings: PyTree,
    penalty: Penalty | None = None,
    batch_norm_groups: int = 1,
) -> TrainStep:
    """Build the compiled training step.

    Args:
        module: takes images ``[B, H, W, 3]`` in 0..1 and ``train``; its ``dtype`` is that of the
            activations.
        augment: ``(key, batch, step) -> batch``, on the device; ``step`` counts the steps before.
        loss: ``(outputs, batch) -> (loss, terms)``, scalars in float32.
        config: the optimiser.
        run: batch size and length of the run.
        mesh: the devices.
        shardings: of the state, ``state_sharding(mesh, state)``.
        penalty: of the parameters, for each image of the batch; its metric is ``loss/penalty``.
        batch_norm_groups: parts of the batch that have statistics of their own (see `BatchNorm`);
            with ``mesh.size`` of them each device normalises its part without communication.

    Returns:
        ``step(state, batch, key) -> (state, metrics)``. The metrics hold the loss terms under
        ``loss/``, ``gradient_norm`` (of this batch, before clipping), ``targets`` (per image) and
        the schedule's values.

    Raises:
        InputError: if the number of devices does not divide the batch size.
    """
    require_divisible(mesh, run.batch_size)
    grouped = grouped_batch_norms(batch_norm_groups)
    apply_gradients = make_apply_gradients(config, run)

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        batch = augment(jax.random.fold_in(key, state.step), batch, state.step)
        images = normalise(batch.image, module.dtype)  # [B, H, W, 3]

        def objective(params: PyTree):
            params = stop_gradients(params, config.freeze)
            variables = {"params": params, "batch_stats": state.batch_stats}
            constant = constant_batch_norms(params, config.freeze)
            with nn.intercept_methods(grouped), nn.intercept_methods(constant):
                outputs, updated = module.apply(
                    variables, images, train=True, mutable=["batch_stats"]
                )
            value, terms = loss(outputs, batch)
            if penalty:
                terms = terms | {"penalty": penalty(params)}
                value += len(images) * terms["penalty"]  # like the loss, a sum over images
            return value, (terms, updated.get("batch_stats", {}))

        # Gather sharded parameters here; otherwise XLA shards the activations instead.
        params = jax.lax.with_sharding_constraint(state.params, replicated(mesh))
        gradient = jax.value_and_grad(objective, has_aux=True)
        (_, (terms, batch_stats)), gradients = gradient(params)
        gradients = jax.lax.with_sharding_constraint(gradients, shardings.params)
        now = hyperparameters(state.step, config, run)
        metrics = step_metrics(terms, gradients, batch, now)
        state = apply_gradients(state.replace(batch_stats=batch_stats), gradients, now)
        return state.replace(step=state.step + 1), metrics

    return jax.jit(
        train_step,
        in_shardings=(shardings, batch_sharding(mesh), replicated(mesh)),
        out_shardings=(shardings, replicated(mesh)),
        donate_argnums=0,
    )


def make_advance(train_step: TrainStep, mesh: Mesh, key: jax.Array) -> Advance:
    """One step of a run, from a batch on the host.

    Args:
        train_step: see `make_train_step`.
        mesh: the devices.
        key: the run's key; the same in each part of a run that was interrupted.

    Returns:
        ``advance(state, host_batch) -> (state, metrics)``; ``state`` is donated.
    """

    def advance(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return train_step(state, shard_batch(mesh, batch), key)

    return advance


def grouped_batch_norms(groups: int) -> Callable[..., Any]:
    """An interceptor for ``nn.intercept_methods`` that passes ``groups`` to every `BatchNorm`."""

    def interceptor(call, args, kwargs, context: nn.module.InterceptorContext):
        if isinstance(context.module, BatchNorm):
            kwargs = kwargs | {"groups": groups}
        return call(*args, **kwargs)

    return interceptor


def make_apply_gradients(
    config: OptimConfig, run: RunLength
) -> Callable[[TrainState, PyTree, Hyperparameters], TrainState]:
    """``(state, gradients, hyperparameters) -> state``: accumulate gradients, step the optimiser.

    The optimiser steps where ``state.step mod accumulate == 0``, with the sum of the gradients
    since its last step; then the moving averages are updated.
    """
    optimizer = make_optimizer(config, run)

    def update(state: TrainState, gradients: PyTree, now: Hyperparameters) -> TrainState:
        updates, opt_state = optimizer.update(
            gradients, state.opt_state, state.params, hyperparameters=now
        )
        params = optax.apply_updates(state.params, updates)
        count = state.updates + 1
        decay = ema_decay(count, config)
        return state.replace(
            updates=count,
            params=params,
            opt_state=opt_state,
            ema_params=ema_update(state.ema_params, params, decay),
            ema_batch_stats=ema_update(state.ema_batch_stats, state.batch_stats, decay),
            gradients=jax.tree.map(jnp.zeros_like, state.gradients),
        )

    def accumulate(state: TrainState, gradients: PyTree, now: Hyperparameters) -> TrainState:
        waiting = state.gradients
        if config.drop_gradients_at_epoch_start:
            first = state.step % run.steps_per_epoch == 0
            waiting = jax.tree.map(lambda w: jnp.where(first, jnp.zeros_like(w), w), waiting)
        total = jax.tree.map(jnp.add, waiting, gradients)
        return jax.lax.cond(
            state.step % now.accumulate == 0,
            lambda: update(state, total, now),
            lambda: state.replace(gradients=total),
        )

    return accumulate if nominal_accumulation(config, run.batch_size) > 1 else update


def step_metrics(
    terms: dict[str, Float[Array, ""]], gradients: PyTree, batch: Batch, now: Hyperparameters
) -> Metrics:
    """The metrics of one step as (sum, count), float32."""
    one = jnp.ones((), jnp.float32)
    values = {f"loss/{name}": value for name, value in terms.items()}
    values["gradient_norm"] = optax.global_norm(gradients)
    values["learning_rate"] = now.learning_rate
    values["bias_learning_rate"] = now.bias_learning_rate
    values["momentum"] = now.momentum
    metrics = {name: (value.astype(jnp.float32), one) for name, value in values.items()}
    targets = jnp.sum(batch.mask, dtype=jnp.float32)
    metrics["targets"] = (targets, batch.mask.shape[0] * one)
    return metrics
