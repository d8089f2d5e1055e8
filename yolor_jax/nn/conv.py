"""Convolution unit: a convolution and all that belongs to it.

    y = act(after * (BN(conv(before * x))))          `*` an implicit's operator, each part optional

At inference all but the activation folds into the convolution by one local rule (models/fold.py).

    y = ConvUnit(128, 3, stride=2)(x, train=True)        # [B, H, W, C] -> [B, H / 2, W / 2, 128]
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from yolor_jax.nn.knowledge import Knowledge


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    return x * jnp.tanh(jax.nn.softplus(x))


ACTIVATIONS = {"silu": jax.nn.silu, "mish": mish, "linear": lambda x: x}

# PyTorch's default for convolutions, uniform(+-1/sqrt(fan_in)): the original's start values.
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class BatchNorm(nn.Module):
    """Batch normalisation with float32 statistics, as in PyTorch.

    Normalises with the biased variance and updates the running variance with the unbiased one.
    Under ``jax.jit`` with a sharded batch the statistics are those of the global batch.

    Attributes:
        epsilon: added to the variance.
        momentum: weight of the new batch in the running statistics.
    """

    epsilon: float
    momentum: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], *, train: bool, groups: int = 1
    ) -> Float[Array, "B H W C"]:
        """Normalises over B, H and W; ``train`` uses and updates the statistics of the batch.

        Args:
            x: the activations.
            train: see there.
            groups: equal parts of the batch, one after the other, each normalised by statistics of
                its own. The running statistics then take the mean of theirs.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        wide = x.astype(scale.dtype)

        def normalise(wide, mean, var):
            gain = scale * jax.lax.rsqrt(var + self.epsilon)
            return (wide - per_channel(mean)) * per_channel(gain) + per_channel(bias)

        def normalise_batch(wide):
            mean = wide.mean((0, 1, 2))
            var = jnp.square(wide - per_channel(mean)).mean((0, 1, 2))
            return normalise(wide, mean, var), mean, var

        if not train:
            return normalise(wide, running_mean.value, running_var.value).astype(x.dtype)
        if groups == 1:
            y, mean, var = normalise_batch(wide)
        else:
            parts = wide.reshape(groups, -1, *x.shape[1:])  # [G, B / G, H, W, C]
            y, means, variances = jax.vmap(normalise_batch)(parts)
            y, mean, var = y.reshape(x.shape), means.mean(0), variances.mean(0)
        if not self.is_initializing():
            count = x.size // x.shape[-1] // groups
            unbiased = var * (count / max(count - 1, 1))
            keep = 1 - self.momentum
            running_mean.value = keep * running_mean.value + self.momentum * mean
            running_var.value = keep * running_var.value + self.momentum * unbiased
        return y.astype(x.dtype)


def per_channel(v: Float[Array, " C"]) -> Float[Array, "1 1 1 C"]:
    """For arithmetic with a map [B, H, W, C]."""
    return v.reshape(1, 1, 1, -1)


class Conv(nn.Module):
    """`nn.Conv` whose bias has a gradient that is summed in the bias's own dtype.

    That of `nn.Conv` is summed in the dtype of the activations, and a sum over a map in bfloat16
    stops at a few hundred. Leaves ``kernel`` and, where there is one, ``bias``; float32.

    Attributes:
        features: output channels.
        kernel: side k of the kernel; padded with k // 2 zeros on each side.
        stride: 1 or 2.
        groups: of channels that are convolved apart.
        bias: whether there is one.
        bias_init: its start values.
        dtype: of the activations.
    """

    features: int
    kernel: int
    stride: int
    groups: int
    bias: bool
    bias_init: Callable
    dtype: DTypeLike

    def setup(self):
        """The convolution shares the scope: its kernel is a leaf of this module."""
        self.convolution = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            self.stride,
            padding=self.kernel // 2,
            feature_group_count=self.groups,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=kernel_init,
        )
        nn.share_scope(self, self.convolution)
        if self.bias:
            self.offset = self.param("bias", self.bias_init, (self.features,), jnp.float32)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / stride, W / stride, features]`` in ``dtype``."""
        y = self.convolution(x)
        if not self.bias:
            return y
        return y + jnp.broadcast_to(per_channel(self.offset), y.shape).astype(y.dtype)


class ConvUnit(nn.Module):
    """Convolution with all that belongs to it: implicits, batch norm, activation.

    Attributes:
        features: output channels.
        kernel: side k of the kernel; padded with k // 2 zeros on each side, also for stride 2.
        stride: 1 or 2.
        activation: a key of `ACTIVATIONS`.
        norm: batch norm behind the convolution.
        bias: the convolution has a bias of its own.
        bias_init: start values of that bias.
        before: implicit knowledge on the input, or None.
        after: implicit knowledge on the output (behind batch norm), or None.
        anchors: equal groups of output channels that belong to an anchor each.
        epsilon: of the batch norm.
        momentum: of the batch norm, weight of the new batch.
        fused: the parameters are folded: convolution with bias and activation are all there is.
        dtype: of the activations; parameters and statistics stay float32.
    """

    features: int
    kernel: int = 1
    stride: int = 1
    activation: str = "silu"
    norm: bool = True
    bias: bool = False
    bias_init: Callable = nn.initializers.zeros
    before: Knowledge | None = None
    after: Knowledge | None = None
    anchors: int = 1
    epsilon: float = 1e-4
    momentum: float = 0.03
    fused: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / stride, W / stride, features]`` in ``dtype``."""
        groups = 1
        if self.before and self.fused:
            x = append_ones(x) if needs_ones(self.before, self.kernel) else x
        elif self.before:
            if self.before.scope == "anchor":  # a copy of the features for each anchor
                groups = self.anchors
                x = jnp.tile(x, groups)
            x = self.before.module(self.anchors, "implicit_before")(x)
        x = Conv(
            self.features,
            self.kernel,
            self.stride,
            groups,
            bias=self.fused or self.bias,
            bias_init=self.bias_init,
            dtype=self.dtype,
            name="conv",
        )(x)
        if self.norm and not self.fused:
            x = BatchNorm(self.epsilon, self.momentum, name="bn")(x, train=train)
        if self.after and not self.fused:
            x = self.after.module(self.anchors, "implicit_after")(x)
        return ACTIVATIONS[self.activation](x)


def needs_ones(before: Knowledge, kernel: int) -> bool:
    """Whether a folded convolution reads a channel of ones.

    A constant on the input becomes a bias, but not at the border of a padded convolution, where
    the kernel meets the padding's zeros instead of it: a channel of ones has the same border.
    """
    return before.operator in ("add", "concat") and kernel > 1


def append_ones(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C1"]:
    """Appends a channel of ones."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
