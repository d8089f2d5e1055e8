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
        """Normalises each channel over B, H and W.

        Args:
            x: the activations.
            train: use and update batch statistics; otherwise the running statistics are used.
            groups: number of equal parts of the batch, one after the other, each normalised by
                statistics of its own. The running statistics then take the mean of theirs.

        Returns:
            The shape and dtype of x.
        """
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        # Sums over a batch lose their last digits in bfloat16: statistics in the parameters' dtype.
        precise = x.astype(scale.dtype)

        def normalise(precise, mean, var):
            gain = scale * jax.lax.rsqrt(var + self.epsilon)
            return (precise - per_channel(mean)) * per_channel(gain) + per_channel(bias)

        def normalise_batch(precise):
            mean = precise.mean((0, 1, 2))
            # Two passes: the mean of squares less the square of the mean cancels in float32.
            var = jnp.square(precise - per_channel(mean)).mean((0, 1, 2))
            return normalise(precise, mean, var), mean, var

        if not train:
            return normalise(precise, running_mean.value, running_var.value).astype(x.dtype)
        if groups == 1:
            y, mean, var = normalise_batch(precise)
        else:
            parts = precise.reshape(groups, -1, *x.shape[1:])  # [G, B / G, H, W, C]
            y, means, variances = jax.vmap(normalise_batch)(parts)
            y, mean, var = y.reshape(x.shape), means.mean(0), variances.mean(0)
        # The images of `init` are no data: the running statistics start at mean 0 and variance 1.
        if not self.is_initializing():
            count = x.size // x.shape[-1] // groups
            unbiased = var * (count / max(count - 1, 1))
            keep = 1 - self.momentum
            running_mean.value = keep * running_mean.value + self.momentum * mean
            running_var.value = keep * running_var.value + self.momentum * unbiased
        return y.astype(x.dtype)


def per_channel(v: Float[Array, " C"]) -> Float[Array, "1 1 1 C"]:
    """A value for each channel, shaped for arithmetic with a map ``[B, H, W, C]``."""
    return v.reshape(1, 1, 1, -1)


class Conv(nn.Module):
    """A convolution whose bias has a gradient that is summed in the bias's own dtype.

    That of `nn.Conv` is summed in the dtype of the activations, and a sum over a map in bfloat16
    stops at a few hundred. Leaves: ``kernel`` and, where there is one, ``bias``; float32.

    Attributes:
        features: output channels.
        kernel: side k of the kernel; padded with k // 2 zeros on each side.
        stride: 1 or 2.
        groups: number of equal groups of input channels, each convolved to its own outputs.
        bias: add a bias.
        bias_init: initialiser of the bias.
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
        """Declares the leaves."""
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
        # One scope for both, so that the path of the kernel is conv/kernel: paths are public.
        nn.share_scope(self, self.convolution)
        if self.bias:
            self.offset = self.param("bias", self.bias_init, (self.features,), jnp.float32)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / stride, W / stride, features]`` in ``dtype``."""
        y = self.convolution(x)
        if not self.bias:
            return y
        # Broadcast before the cast: backward the sum then comes after it, in float32.
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
        bias_init: initialiser of that bias.
        before: implicit knowledge on the input, or None.
        after: implicit knowledge on the output (behind batch norm), or None.
        anchors: number A of equal groups of output channels, one for each anchor.
        epsilon: added to the variance in the batch norm.
        momentum: weight of the new batch in the running statistics.
        fused: the parameters are folded (`models.fold`): a convolution with bias and an activation
            are all there is. The argument is called "fused" everywhere; the act is called a fold.
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
        # Two branches rather than one: a folded unit has no leaves of an implicit.
        if self.before and self.fused:
            x = append_ones(x) if needs_ones(self.before, self.kernel) else x
        elif self.before:
            if self.before.scope == "anchor":
                # A copy of the features for each anchor, convolved apart from the others. The
                # kernel has the shape of one without groups, which is what it folds to.
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
    the kernel meets zeros instead of it. A channel of ones is padded with the same zeros.

    Args:
        before: implicit knowledge on the input of the convolution.
        kernel: side of the kernel.
    """
    return before.operator in ("add", "concat") and kernel > 1


def append_ones(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C1"]:
    """Appends a channel of ones, in the dtype of x."""
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
