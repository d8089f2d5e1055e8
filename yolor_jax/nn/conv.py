"""Convolution unit: a convolution and all that belongs to it.

    y = act(after * (BN(conv(before * x))))          `*` an implicit's operator, each part optional

At inference all but the activation folds into the convolution by one local rule (models/fold.py).

    y = ConvUnit(128, 3, stride=2)(x, train=True)        # [B, H, W, C] -> [B, H / 2, W / 2, 128]
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from yolor_jax.nn.activations import ACTIVATIONS
from yolor_jax.nn.batch_norm import BatchNorm, per_channel
from yolor_jax.nn.knowledge import Knowledge

# PyTorch's default for convolutions, uniform(+-1/sqrt(fan_in)): the original's start values.
kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


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
        after = None if self.fused else self.after
        if self.norm and not self.fused:
            activation = "linear" if after else self.activation
            x = BatchNorm(self.epsilon, self.momentum, activation, name="bn")(x, train=train)
            if not after:
                return x
        if after:
            x = after.module(self.anchors, "implicit_after")(x)
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
