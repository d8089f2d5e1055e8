"""Convolution unit and the cross-stage-partial (CSP) blocks of CSPDarknet.

A unit holds all that belongs to one convolution, so folding is one local rule (models/fold.py):

    y = act(after * (BN(conv(before * x))))          `*` an implicit's operator, each part optional

Blocks get the unit as ``conv``, a partial of `ConvUnit` that fixes activation, batch norm, dtype
and whether the parameters are folded. One use:

    conv = functools.partial(ConvUnit, activation="silu")
    y = CSP(128, repeats=2, conv=conv)(x, train=True)    # [B, H, W, C] -> [B, H, W, 128]
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from yolor_jax.nn.implicit import Implicit

ModuleDef = Callable[..., nn.Module]


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
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W C"]:
        """Normalises over B, H and W; ``train`` uses and updates the statistics of the batch."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        wide = x.astype(scale.dtype)
        if train:
            mean = wide.mean((0, 1, 2))
            var = jnp.square(wide - _per_channel(mean)).mean((0, 1, 2))
            count = x.size // x.shape[-1]
            if not self.is_initializing():
                unbiased = var * (count / max(count - 1, 1))
                keep = 1 - self.momentum
                running_mean.value = keep * running_mean.value + self.momentum * mean
                running_var.value = keep * running_var.value + self.momentum * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        gain = scale * jax.lax.rsqrt(var + self.epsilon)
        y = (wide - _per_channel(mean)) * _per_channel(gain) + _per_channel(bias)
        return y.astype(x.dtype)


def _per_channel(v: Float[Array, " C"]) -> Float[Array, "1 1 1 C"]:
    return v.reshape(1, 1, 1, -1)


class ConvUnit(nn.Module):
    """Convolution with all that belongs to it: implicits, batch norm, activation.

    Attributes:
        features: output channels.
        kernel: side k of the kernel; padded with k // 2 zeros on each side, also for stride 2.
        stride: 1 or 2.
        activation: a key of `ACTIVATIONS`.
        norm: batch norm behind the convolution, which then has no bias of its own.
        bias_init: start values of the bias where there is one.
        before: operator of an implicit on the input, or None.
        after: operator of an implicit on the output (behind batch norm), or None.
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
    bias_init: Callable = nn.initializers.zeros
    before: str | None = None
    after: str | None = None
    epsilon: float = 1e-4
    momentum: float = 0.03
    fused: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / stride, W / stride, features]`` in ``dtype``."""
        if self.before and not self.fused:
            x = Implicit(x.shape[-1], self.before, name="implicit_before")(x)
        x = nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            self.stride,
            padding=self.kernel // 2,
            use_bias=self.fused or not self.norm,
            dtype=self.dtype,
            kernel_init=kernel_init,
            bias_init=self.bias_init,
            name="conv",
        )(x)
        if self.norm and not self.fused:
            x = BatchNorm(self.epsilon, self.momentum, name="bn")(x, train=train)
        if self.after and not self.fused:
            x = Implicit(self.features, self.after, name="implicit_after")(x)
        return ACTIVATIONS[self.activation](x)


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with or without the residual sum.

    Attributes:
        features: output channels; also of the input where ``residual``.
        hidden: channels between the two convolutions.
        conv: partial of `ConvUnit`.
        residual: add the input to the output.
    """

    features: int
    hidden: int
    conv: ModuleDef
    residual: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        y = self.conv(self.hidden, name="reduce")(x, train=train)
        y = self.conv(self.features, 3, name="expand")(y, train=train)
        return x + y if self.residual else y


class CSP(nn.Module):
    """Cross-stage-partial block of the backbone: residual bottlenecks on one half of the channels.

        merge([leave(bottlenecks(enter(x))), shortcut(x)])

    Attributes:
        features: output channels; each branch has half of them.
        repeats: number of bottlenecks.
        conv: partial of `ConvUnit`.
        leave: a 1x1 convolution ends the processed branch.
    """

    features: int
    repeats: int
    conv: ModuleDef
    leave: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        half = self.features // 2
        shortcut = self.conv(half, name="shortcut")(x, train=train)
        y = self.conv(half, name="enter")(x, train=train)
        for i in range(self.repeats):
            y = Bottleneck(half, half, self.conv, name=f"bottleneck{i}")(y, train=train)
        if self.leave:
            y = self.conv(half, name="leave")(y, train=train)
        y = jnp.concatenate([y, shortcut], axis=-1)  # [B, H, W, F]
        return self.conv(self.features, name="merge")(y, train=train)


class NeckCSP(nn.Module):
    """CSP block of the neck: bottlenecks without residual sum; the branches split behind `enter`.

        t = enter(x);  merge([bottlenecks(t), shortcut(t)])

    Attributes:
        features: channels of the output and of both branches.
        repeats: number of bottlenecks.
        conv: partial of `ConvUnit`.
    """

    features: int
    repeats: int
    conv: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        f, conv = self.features, self.conv
        t = conv(f, name="enter")(x, train=train)
        shortcut = conv(f, name="shortcut")(t, train=train)
        for i in range(self.repeats):
            t = Bottleneck(f, f, conv, residual=False, name=f"bottleneck{i}")(t, train=train)
        return conv(f, name="merge")(jnp.concatenate([t, shortcut], axis=-1), train=train)


def max_pool5(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """5x5 maximum at stride 1, padded with minus infinity."""
    return nn.max_pool(x, (5, 5), strides=(1, 1), padding="SAME")


class SPPCSP(nn.Module):
    """Spatial pyramid pooling inside a CSP block, at the top of the backbone.

        t = squeeze(conv3(enter(x)));  y = leave(project([pool13, pool9, pool5, t]))
        merge([y, shortcut(x)])

    The 9x9 and 13x13 maxima are two and three 5x5 maxima in a row: equal, and cheaper.

    Attributes:
        features: channels of the output and of both branches.
        conv: partial of `ConvUnit`.
    """

    features: int
    conv: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        f, conv = self.features, self.conv
        shortcut = conv(f, name="shortcut")(x, train=train)
        t = conv(f, name="enter")(x, train=train)
        t = conv(f, 3, name="mix")(t, train=train)
        t = conv(f, name="squeeze")(t, train=train)
        pool5 = max_pool5(t)
        pool9 = max_pool5(pool5)
        pool13 = max_pool5(pool9)
        y = jnp.concatenate([pool13, pool9, pool5, t], axis=-1)  # [B, H, W, 4 F]
        y = conv(f, name="project")(y, train=train)
        y = conv(f, 3, name="leave")(y, train=train)
        return conv(f, name="merge")(jnp.concatenate([y, shortcut], axis=-1), train=train)
