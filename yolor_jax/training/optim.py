"""The optimiser and its schedule, as functions of the micro-step index.

One micro-step is one batch; the optimiser steps when ``step mod accumulate == 0`` on the sum of the
gradients since its last step, so that small batches reach the nominal batch of 64. Let ``f`` run
from 0 to 1 over the warm-up and ``e`` be the epoch, ``E`` the number of epochs:

    lf(e)         = (1 + cos(pi e / E)) / 2 * (1 - final_ratio) + final_ratio
    learning rate = f * lr * lf(e)                               kernels, scales, implicits
                    (1 - f) * warmup_bias_lr + f * lr * lf(e)    biases
    momentum      = (1 - f) * warmup_momentum + f * momentum
    accumulate    = max(1, round(1 + f * (nominal_batch / batch_size - 1)))

Three groups by parameter path: ``bias`` (convolutions and batch norms), ``kernel`` (convolutions;
the only decayed ones) and ``scale`` (batch norms and everything implicit).

    run = RunLength(batch_size=16, steps_per_epoch=7329, total_steps=7329 * 300)
    optimizer = make_optimizer(OptimConfig(), run)
    opt_state = optimizer.init(params)
    now = hyperparameters(step, OptimConfig(), run)
    updates, opt_state = optimizer.update(grads, opt_state, params, hyperparameters=now)
"""

import dataclasses
import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from yolor_jax import trees
from yolor_jax.errors import InputError
from yolor_jax.training.freeze import skip_frozen

# First match wins. An implicit's own kernels and biases (its NN modelling) are not decayed either.
GROUP_RULES = (
    (r"implicit", "scale"),
    (r"(^|/)log_variance/", "scale"),
    (r"(^|/)bias$", "bias"),
    (r"(^|/)kernel$", "kernel"),
    (r"(^|/)scale$", "scale"),
)


_HIGHEST = {"momentum": 1.0, "warmup_momentum": 1.0, "ema_decay": 1.0}  # others have no limit


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """Hyper-parameters of the optimiser, its schedule and the moving average.

    Attributes:
        optimizer: a key of ``OPTIMIZERS``: 'sgd' (Nesterov) or 'adamw'.
        learning_rate: at the end of the warm-up, for a gradient summed over ``nominal_batch``
            images.
        final_ratio: learning rate of the last epoch over ``learning_rate``.
        momentum: of SGD; the first beta of AdamW.
        clip_norm: largest global norm of the gradient that an optimiser step uses, summed over
            ``nominal_batch`` images, without frozen parameters and weight decay; a longer one is
            scaled down to it. 0 for no limit.
        weight_decay: of convolution kernels. With SGD it is coupled and scaled with the batch
            (see ``scaled_weight_decay``), with AdamW decoupled and as given.
        nominal_batch: images per optimiser step that smaller batches are accumulated to.
        warmup_epochs: length of the warm-up in epochs, but at least ``warmup_min_steps`` steps.
        warmup_min_steps: with ``warmup_epochs=0`` simply the length of the warm-up in steps.
        warmup_momentum: momentum at step 0 (SGD only).
        warmup_bias_learning_rate: learning rate of the biases at step 0.
        cosine_per_step: the cosine falls with every step, not once per epoch.
        lag_one_epoch: as in the original, epochs after the warm-up run with ``lf(e - 1)``.
        drop_gradients_at_epoch_start: as in the original, gradients that wait for an optimiser step
            when an epoch ends are thrown away.
        ema_decay: decay of the moving average of parameters and statistics that it grows to.
        ema_tau: optimiser steps over which it grows there.
        freeze: a regular expression; the parameters whose path it is found in do not change (see
            `training.freeze`). "" trains all.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.01
    final_ratio: float = 0.2
    momentum: float = 0.937
    clip_norm: float = 0.0
    weight_decay: float = 5e-4
    nominal_batch: int = 64
    warmup_epochs: float = 3.0
    warmup_min_steps: int = 1000
    warmup_momentum: float = 0.8
    warmup_bias_learning_rate: float = 0.1
    cosine_per_step: bool = False
    lag_one_epoch: bool = False
    drop_gradients_at_epoch_start: bool = False
    ema_decay: float = 0.9999
    ema_tau: float = 2000.0
    freeze: str = ""

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise InputError(
                f"optimizer is {self.optimizer!r}: expected one of {sorted(OPTIMIZERS)}."
            )
        try:
            re.compile(self.freeze)
        except re.error as error:
            raise InputError(
                f"freeze is {self.freeze!r}, which is no regular expression: {error}."
            ) from error
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            high = _HIGHEST.get(field.name, math.inf)
            if isinstance(value, int | float) and not 0 <= value <= high:
                raise InputError(f"{field.name} is {value}: expected 0 to {high}.")
        if self.cosine_per_step and self.lag_one_epoch:
            raise InputError(
                "lag_one_epoch shifts a cosine that falls once per epoch: set it or "
                "cosine_per_step, not both."
            )
        if self.optimizer == "adamw" and self.warmup_bias_learning_rate > self.learning_rate:
            raise InputError(
                f"warmup_bias_learning_rate {self.warmup_bias_learning_rate} is above "
                f"learning_rate {self.learning_rate}: that suits SGD, whose step shrinks with the "
                "gradient, but throws the biases far off with AdamW. Set "
                "warmup_bias_learning_rate=0.0."
            )


@dataclasses.dataclass(frozen=True)
class RunLength:
    """What the schedule must know of the run: global batch size, steps per epoch, all steps."""

    batch_size: int
    steps_per_epoch: int
    total_steps: int

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(
                    f"{field.name} is {getattr(self, field.name)}: expected at least 1."
                )

    def epoch(self, step: int) -> float:
        """Passes over the training images that the state of a step has behind it."""
        return step / self.steps_per_epoch


class Hyperparameters(NamedTuple):
    """The schedule's values at one micro-step; scalars."""

    learning_rate: Float[Array, ""]
    bias_learning_rate: Float[Array, ""]
    momentum: Float[Array, ""]
    accumulate: Int[Array, ""]


def warmup_steps(config: OptimConfig, run: RunLength) -> int:
    """Length of the warm-up in steps."""
    return max(round(config.warmup_epochs * run.steps_per_epoch), config.warmup_min_steps)


def nominal_accumulation(config: OptimConfig, batch_size: int) -> int:
    """Batches per optimiser step after the warm-up; also the largest number during it."""
    return max(round(config.nominal_batch / batch_size), 1)


def scaled_weight_decay(config: OptimConfig, batch_size: int) -> float:
    """Weight decay per optimiser step, relative to the number of images that it really sums."""
    images = batch_size * nominal_accumulation(config, batch_size)
    return config.weight_decay * images / config.nominal_batch


def hyperparameters(
    step: Int[Array, ""] | int, config: OptimConfig, run: RunLength
) -> Hyperparameters:
    """The schedule at a micro-step.

    Args:
        step: number of micro-steps done before this one.
        config: the schedule's values.
        run: batch size and length.

    Returns:
        Learning rates and momentum in the default float type, accumulation as int32.
    """
    step = jnp.asarray(step, jnp.int32)
    float_type = jax.dtypes.canonicalize_dtype(jnp.float64)
    warmup = warmup_steps(config, run)
    fraction = jnp.minimum(step.astype(float_type) / max(warmup, 1), 1.0) if warmup else 1.0
    fraction = jnp.asarray(fraction, float_type)
    if config.cosine_per_step:
        progress = step.astype(float_type) / run.total_steps
    else:
        epoch = step // run.steps_per_epoch
        if config.lag_one_epoch:
            epoch = jnp.where(epoch > warmup // run.steps_per_epoch, epoch - 1, epoch)
        progress = epoch.astype(float_type) / (run.total_steps / run.steps_per_epoch)
    cosine = (1.0 + jnp.cos(jnp.pi * progress)) / 2.0
    target = config.learning_rate * (cosine * (1.0 - config.final_ratio) + config.final_ratio)

    def interpolate(start: float, end: Any) -> Float[Array, ""]:
        return start + fraction * (end - start)

    accumulate = jnp.round(interpolate(1.0, config.nominal_batch / run.batch_size))
    return Hyperparameters(
        learning_rate=interpolate(0.0, target),
        bias_learning_rate=interpolate(config.warmup_bias_learning_rate, target),
        momentum=interpolate(config.warmup_momentum, config.momentum),
        accumulate=jnp.maximum(accumulate, 1.0).astype(jnp.int32),
    )


def parameter_groups(params: PyTree) -> PyTree:
    """Label every parameter 'bias', 'kernel' or 'scale' by its path; an unknown one is an error."""
    return trees.label_by_path(params, GROUP_RULES)


def _is_kernel(params: PyTree) -> PyTree:
    return jax.tree.map(lambda group: group == "kernel", parameter_groups(params))


def nesterov() -> optax.GradientTransformationExtraArgs:
    """Nesterov momentum with the learning rate outside, as PyTorch: ``b = m b + g; g + m b``."""

    def init(params):
        return optax.TraceState(trace=jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, hyperparameters: Hyperparameters, **_):
        def push(gradient, buffer):
            return gradient + hyperparameters.momentum.astype(gradient.dtype) * buffer

        trace = jax.tree.map(push, updates, state.trace)
        return jax.tree.map(push, updates, trace), optax.TraceState(trace=trace)

    return optax.GradientTransformationExtraArgs(init, update)


def adam(b1: float, b2: float = 0.999) -> optax.GradientTransformation:
    """``optax.scale_by_adam``, which counts on implicit dtype promotion, under strict rules too."""
    inner = optax.scale_by_adam(b1=b1, b2=b2)

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params)

    return optax.GradientTransformation(inner.init, update)


def scale_by_group() -> optax.GradientTransformationExtraArgs:
    """Multiply each update by minus the learning rate of its group."""

    def update(updates, state, params=None, *, hyperparameters: Hyperparameters, **_):
        rates = {
            "bias": hyperparameters.bias_learning_rate,
            "kernel": hyperparameters.learning_rate,
            "scale": hyperparameters.learning_rate,
        }
        groups = parameter_groups(updates)
        return jax.tree.map(lambda u, g: -rates[g].astype(u.dtype) * u, updates, groups), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def sgd(config: OptimConfig, run: RunLength) -> list[optax.GradientTransformation]:
    """SGD with coupled weight decay and Nesterov momentum, as an ordered list."""
    decay = scaled_weight_decay(config, run.batch_size)
    return [optax.add_decayed_weights(decay, mask=_is_kernel), nesterov(), scale_by_group()]


def adamw(config: OptimConfig, run: RunLength) -> list[optax.GradientTransformation]:
    """Adam with decoupled weight decay, as an ordered list; its betas are constant."""
    return [
        adam(b1=config.momentum),
        optax.add_decayed_weights(config.weight_decay, mask=_is_kernel),
        scale_by_group(),
    ]


OPTIMIZERS = {"sgd": sgd, "adamw": adamw}


def make_optimizer(config: OptimConfig, run: RunLength) -> optax.GradientTransformationExtraArgs:
    """The chosen optimiser; its ``update`` takes ``hyperparameters=hyperparameters(step, ...)``.

    A parameter that no group claims, and a ``freeze`` that matches none or all, make ``init`` raise
    an InputError that names it.
    """
    transforms = OPTIMIZERS[config.optimizer](config, run)
    if config.clip_norm:
        transforms = [optax.clip_by_global_norm(config.clip_norm), *transforms]
    optimizer = optax.chain(*transforms)
    return optax.with_extra_args_support(
        skip_frozen(optimizer, config.freeze) if config.freeze else optimizer
    )


def ema_decay(updates: Int[Array, ""], config: OptimConfig) -> Float[Array, ""]:
    """Decay ``d (1 - exp(-t / tau))`` of the moving average at its update ``t`` = 1, 2, ..."""
    time = updates.astype(jax.dtypes.canonicalize_dtype(jnp.float64))
    return -config.ema_decay * jnp.expm1(-time / config.ema_tau)


def ema_update(average: PyTree, values: PyTree, decay: Float[Array, ""]) -> PyTree:
    """``decay * average + (1 - decay) * values`` for every leaf of two equal trees.

    Written as a step towards the values, so that an average of what does not change is exact.
    """

    def blend(a, v):
        return a + (1.0 - decay.astype(a.dtype)) * (v - a)

    return jax.tree.map(blend, average, values)
