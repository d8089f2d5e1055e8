"""The cross-stage-partial (CSP) blocks of CSPDarknet and of the pyramid.

Blocks get their convolutions as ``conv``, a partial of `nn.conv.ConvUnit` that fixes activation,
batch norm, dtype and whether the parameters are folded. One use:

    conv = functools.partial(ConvUnit, activation="silu")
    y = CSP(128, repeats=2, conv=conv)(x, train=True)    # [B, H, W, C] -> [B, H, W, 128]
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.nn.activations import ACTIVATIONS
from yolor_jax.nn.batch_norm import BatchNorm, per_channel
from yolor_jax.nn.knowledge import Knowledge

ModuleDef = Callable[..., nn.Module]


class JointNorm(nn.Module):
    """One batch norm and activation over the concatenation of two branches.

        act(BN([processed, shortcut]))

    Each half of the batch norm folds into the bare convolution that ends its branch. Where the
    processed branch ends otherwise, its half stays as ``affine``, ``scale . x + bias``.

    Attributes:
        activation: a key of `ACTIVATIONS`.
        epsilon: added to the variance in the batch norm.
        momentum: weight of the new batch in the running statistics.
        fused: the parameters are folded (`models.fold`).
    """

    activation: str = "silu"
    epsilon: float = 1e-3
    momentum: float = 0.03
    fused: bool = False

    @nn.compact
    def __call__(
        self,
        processed: Float[Array, "B H W C"],
        shortcut: Float[Array, "B H W D"],
        *,
        train: bool,
        bare: bool = False,
    ) -> Float[Array, "B H W CD"]:
        """Normalises and activates the concatenation.

        Args:
            processed: the branch with the bottlenecks.
            shortcut: the other branch; it always ends in a bare convolution.
            train: use and update batch statistics.
            bare: the processed branch ends in a bare convolution too, so that its half of the batch
                norm folds into it.

        Returns:
            ``[B, H, W, C + D]``.
        """
        if self.fused and not bare:
            processed = Affine(name="affine")(processed)
        x = jnp.concatenate([processed, shortcut], axis=-1)
        if self.fused:
            return ACTIVATIONS[self.activation](x)
        norm = BatchNorm(self.epsilon, self.momentum, self.activation, name="bn")
        return norm(x, train=train)


class Affine(nn.Module):
    """``scale . x + bias`` per channel: a batch norm that no convolution precedes, folded."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Returns the shape and dtype of x."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels).astype(x.dtype)
        bias = self.param("bias", nn.initializers.zeros, channels).astype(x.dtype)
        return x * per_channel(scale) + per_channel(bias)


def join(
    joint_norm: ModuleDef | None,
    processed: Float[Array, "B H W C"],
    shortcut: Float[Array, "B H W D"],
    *,
    train: bool,
    bare: bool = False,
) -> Float[Array, "B H W CD"]:
    """Concatenates the branches of a block, with or without a `JointNorm` named ``join``."""
    if joint_norm is None:
        return jnp.concatenate([processed, shortcut], axis=-1)
    return joint_norm(name="join")(processed, shortcut, train=train, bare=bare)


def branch_end(conv: ModuleDef, joint_norm: ModuleDef | None) -> ModuleDef:
    """The convolution that ends a branch: bare where a `JointNorm` follows."""
    return functools.partial(conv, norm=False, activation="linear") if joint_norm else conv


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with or without the residual sum.

    Attributes:
        features: output channels; those of the input too where ``residual``.
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

        merge(join([leave(bottlenecks(enter(x))), shortcut(x)]))

    Attributes:
        features: output channels; each branch has half of them.
        repeats: number of bottlenecks.
        conv: partial of `ConvUnit`.
        joint_norm: partial of `JointNorm`; None where each branch ends in a unit with batch norm
            and activation of its own.
        leave: end the processed branch with a 1x1 convolution.
    """

    features: int
    repeats: int
    conv: ModuleDef
    joint_norm: ModuleDef | None = None
    leave: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        half, conv = self.features // 2, self.conv
        end = branch_end(conv, self.joint_norm)
        shortcut = end(half, name="shortcut")(x, train=train)
        y = conv(half, name="enter")(x, train=train)
        for i in range(self.repeats):
            y = Bottleneck(half, half, conv, name=f"bottleneck{i}")(y, train=train)
        if self.leave:
            y = end(half, name="leave")(y, train=train)
        y = join(self.joint_norm, y, shortcut, train=train, bare=self.leave)  # [B, H, W, F]
        return conv(self.features, name="merge")(y, train=train)


class NeckCSP(nn.Module):
    """CSP block of the neck: bottlenecks without residual sum; the branches split behind `enter`.

        t = enter(x);  merge(join([bottlenecks(t), shortcut(t)]))

    Attributes:
        features: channels of the output and of both branches.
        repeats: number of bottlenecks.
        conv: partial of `ConvUnit`.
        joint_norm: partial of `JointNorm`; None where each branch ends in a unit with batch norm
            and activation of its own.
        before: implicit knowledge on the input, or None.
    """

    features: int
    repeats: int
    conv: ModuleDef
    joint_norm: ModuleDef | None = None
    before: Knowledge | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        f, conv = self.features, self.conv
        t = conv(f, before=self.before, name="enter")(x, train=train)
        shortcut = branch_end(conv, self.joint_norm)(f, name="shortcut")(t, train=train)
        for i in range(self.repeats):
            t = Bottleneck(f, f, conv, residual=False, name=f"bottleneck{i}")(t, train=train)
        return conv(f, name="merge")(join(self.joint_norm, t, shortcut, train=train), train=train)


def max_pool(x: Float[Array, "B H W C"], side: int, stride: int = 1) -> Float[Array, "B h w C"]:
    """Maximum over windows of side x side; what lies beyond the edge is minus infinity.

    First along rows, then along columns, which takes 2 side values instead of side^2. The gradient
    goes to the first of several that are largest, in reading order, as with windows taken whole.
    """
    y = nn.max_pool(x, (1, side), strides=(1, stride), padding="SAME")
    return nn.max_pool(y, (side, 1), strides=(stride, 1), padding="SAME")


class SPPCSP(nn.Module):
    """Spatial pyramid pooling inside a CSP block, at the top of the backbone.

        t = squeeze(conv3(enter(x)));  y = bottlenecks([pool13, pool9, pool5, t])
        merge(join([y, shortcut(x)]))

    The 9x9 and 13x13 maxima are two and three 5x5 maxima in a row: equal, and cheaper.

    Attributes:
        features: channels of the output and of both branches.
        conv: partial of `ConvUnit`.
        joint_norm: partial of `JointNorm`; None where each branch ends in a unit with batch norm
            and activation of its own.
        repeats: number of bottlenecks, without residual sum, behind the pools.
        pools_first: concatenate the pools before t, the largest first; otherwise
            ``[t, pool5, pool9, pool13]``.
        before: implicit knowledge on the input, or None.
        fused: the parameters are folded (`models.fold`); those of ``before`` into each of the two
            convolutions that read the input.
    """

    features: int
    conv: ModuleDef
    joint_norm: ModuleDef | None = None
    repeats: int = 1
    pools_first: bool = True
    before: Knowledge | None = None
    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]``."""
        f, conv = self.features, self.conv
        # On the block and not on a unit, because two units read the same x * g(z).
        if self.before and not self.fused:
            x = self.before.module(1, "implicit_before")(x)
        shortcut = branch_end(conv, self.joint_norm)(f, name="shortcut")(x, train=train)
        t = conv(f, name="enter")(x, train=train)
        t = conv(f, 3, name="mix")(t, train=train)
        t = conv(f, name="squeeze")(t, train=train)
        pool5 = max_pool(t, 5)
        pool9 = max_pool(pool5, 5)
        pool13 = max_pool(pool9, 5)
        maps = [pool13, pool9, pool5, t] if self.pools_first else [t, pool5, pool9, pool13]
        y = jnp.concatenate(maps, axis=-1)  # [B, H, W, 4 F]
        for i in range(self.repeats):
            y = Bottleneck(f, f, conv, residual=False, name=f"bottleneck{i}")(y, train=train)
        return conv(f, name="merge")(join(self.joint_norm, y, shortcut, train=train), train=train)
