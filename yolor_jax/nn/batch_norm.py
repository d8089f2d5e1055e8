"""Batch normalisation with the activation behind it, and a backward pass that keeps one map.

    y = act(scale * (x - mean) / sqrt(var + epsilon) + bias)    # mean and var: of each channel of x

Ioffe and Szegedy, "Batch Normalization", 2015. Differentiated operation by operation, each layer
keeps several maps of the size of x for the gradients, unless the compiler computes them again. Here
it keeps x and four numbers a channel.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.nn.activations import ACTIVATIONS

Channels = Float[Array, " C"]
Map = Float[Array, "B H W C"]
Activation = Callable[[Array], Array]


class BatchNorm(nn.Module):
    """Batch normalisation with float32 statistics, as in PyTorch, and an activation.

    Normalises with the biased variance and updates the running variance with the unbiased one.
    Under ``jax.jit`` with a sharded batch the statistics are those of the global batch, under
    ``jax.shard_map`` those of each device's part. With ``train=True`` derivatives begin in reverse
    mode: ``jax.grad``, and ``jax.jvp`` of it, but not ``jax.jvp`` of the layer; and none is taken
    of the updated running statistics.

    Attributes:
        epsilon: added to the variance.
        momentum: weight of the new batch in the running statistics.
        activation: a key of `ACTIVATIONS`.
    """

    epsilon: float
    momentum: float
    activation: str = "linear"

    @nn.compact
    def __call__(self, x: Map, *, train: bool, groups: int = 1) -> Map:
        """Normalises each channel over B, H and W.

        Args:
            x: the activations.
            train: use and update batch statistics; otherwise the running statistics are used.
            groups: number of equal parts of the batch, one after the other, each normalised by
                statistics of its own. The running statistics then take the mean of theirs.

        Returns:
            The shape and dtype of x.
        """
        x = jnp.asarray(x)
        channels = (x.shape[-1],)
        scale = _varying_like(self.param("scale", nn.initializers.ones, channels), x)
        bias = _varying_like(self.param("bias", nn.initializers.zeros, channels), x)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        activation = ACTIVATIONS[self.activation]
        if not train:
            statistics = Statistics(running_mean.value, running_var.value)
            return activation(normalise(x, statistics, scale, bias, self.epsilon))
        normalised = functools.partial(
            normalise_batch, scale=scale, bias=bias, epsilon=self.epsilon, activation=activation
        )
        if groups == 1:
            y, (mean, var) = normalised(x)
        else:
            parts = x.reshape(groups, -1, *x.shape[1:])  # [G, B / G, H, W, C]
            y, (means, variances) = jax.vmap(normalised)(parts)
            y, mean, var = y.reshape(x.shape), means.mean(0), variances.mean(0)
        # The images of `init` are no data: the running statistics start at mean 0 and variance 1.
        if not self.is_initializing():
            count = x.size // x.shape[-1] // groups
            unbiased = var * (count / max(count - 1, 1))
            keep = 1 - self.momentum
            running_mean.value = keep * running_mean.value + self.momentum * mean
            running_var.value = keep * running_var.value + self.momentum * unbiased
        return y


class Statistics(NamedTuple):
    """Of each channel, in the dtype of the parameters.

    Attributes:
        mean: over B, H and W.
        var: biased.
    """

    mean: Channels
    var: Channels


def statistics_of(x: Map, dtype: jnp.dtype) -> Statistics:
    """Mean and variance of each channel, summed in ``dtype``."""
    # Sums over a batch lose their last digits in bfloat16.
    precise = x.astype(dtype)
    mean = precise.mean((0, 1, 2))
    # Two passes: the mean of squares less the square of the mean cancels in float32.
    return Statistics(mean, jnp.square(precise - per_channel(mean)).mean((0, 1, 2)))


def normalise(
    x: Map, statistics: Statistics, scale: Channels, bias: Channels, epsilon: float
) -> Map:
    """``scale * (x - mean) / sqrt(var + epsilon) + bias``, in the dtype of x."""
    gain = scale * jax.lax.rsqrt(statistics.var + epsilon)
    precise = x.astype(scale.dtype)
    y = (precise - per_channel(statistics.mean)) * per_channel(gain) + per_channel(bias)
    return y.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnames=("epsilon", "activation"))
def normalise_batch(
    x: Map, scale: Channels, bias: Channels, epsilon: float, activation: Activation
) -> tuple[Map, Statistics]:
    """The activated, normalised x, and its statistics, of which no gradient is taken."""
    return _forward(x, scale, bias, epsilon, activation)[0]


def _forward(x, scale, bias, epsilon, activation):
    statistics = statistics_of(x, scale.dtype)
    y = activation(normalise(x, statistics, scale, bias, epsilon))
    return (y, statistics), (x, statistics, scale, bias)


def _backward(epsilon, activation, kept, cotangents):
    """The gradients of section 3 of the paper.

    With x' = (x - mean) / sqrt(var + epsilon), g the gradient by ``scale * x' + bias``, and means
    over B, H and W:

        dx = scale / sqrt(var + epsilon) * (g - mean(g) - x' * mean(g * x'))
    """
    x, statistics, scale, bias = kept
    axes, count = (0, 1, 2), x.size // x.shape[-1]
    _, through = jax.vjp(activation, normalise(x, statistics, scale, bias, epsilon))
    g = through(cotangents[0])[0].astype(scale.dtype)
    factor = jax.lax.rsqrt(statistics.var + epsilon)
    normal = (x.astype(scale.dtype) - per_channel(statistics.mean)) * per_channel(factor)
    of_bias, of_scale = g.sum(axes), (g * normal).sum(axes)
    centred = g - per_channel(of_bias / count) - normal * per_channel(of_scale / count)
    return (per_channel(scale * factor) * centred).astype(x.dtype), of_scale, of_bias


normalise_batch.defvjp(_forward, _backward)


def _varying_like(v: Channels, x: Map) -> Channels:
    """The same, typed as different on each device of a ``jax.shard_map`` over which x is cut."""
    # The gradient that a backward pass gives is each device's own; the cast's own sums them.
    axes = jax.typeof(x).manual_axis_type.varying - jax.typeof(v).manual_axis_type.varying
    return jax.lax.pcast(v, tuple(axes), to="varying") if axes else v


def per_channel(v: Channels) -> Float[Array, "1 1 1 C"]:
    """A value for each channel, shaped for arithmetic with a map ``[B, H, W, C]``."""
    return v.reshape(1, 1, 1, -1)
