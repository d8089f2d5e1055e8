"""Feature pyramid: SPP-CSP at the top, then a top-down and a bottom-up path (PAN, Liu et al. 2018).

Levels are numbered from the finest, 0.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.blocks import SPPCSP, ModuleDef, NeckCSP
from yolor_jax.nn.resample import upsample2


class TopDown(nn.Module):
    """Merges the coarser level, upsampled, into a map of the backbone."""

    features: int
    repeats: int
    conv: ModuleDef

    @nn.compact
    def __call__(
        self, coarse: Float[Array, "B h w C"], fine: Float[Array, "B H W D"], *, train: bool
    ) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, features]`` with H = 2 h and W = 2 w."""
        up = upsample2(self.conv(self.features, name="reduce")(coarse, train=train))
        lateral = self.conv(self.features, name="lateral")(fine, train=train)
        x = jnp.concatenate([lateral, up], axis=-1)
        return NeckCSP(self.features, self.repeats, self.conv, name="csp")(x, train=train)


class BottomUp(nn.Module):
    """Merges the finer level, halved, into a level of the top-down path."""

    features: int
    repeats: int
    conv: ModuleDef

    @nn.compact
    def __call__(
        self, fine: Float[Array, "B H W C"], level: Float[Array, "B h w D"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Returns ``[B, h, w, features]`` with h = H / 2 and w = W / 2."""
        down = self.conv(self.features, 3, 2, name="down")(fine, train=train)
        x = jnp.concatenate([down, level], axis=-1)
        return NeckCSP(self.features, self.repeats, self.conv, name="csp")(x, train=train)


class Neck(nn.Module):
    """Backbone maps to one map per pyramid level for the head.

    Attributes:
        spec: the model.
        conv: partial of `ConvUnit`.
    """

    spec: ModelSpec
    conv: ModuleDef

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "B _h _w _C"]], *, train: bool) -> tuple:
        """Returns ``[B, h, w, 2 * neck_widths[level]]`` per level, finest first."""
        widths, repeats, conv = self.spec.neck_widths, self.spec.neck_repeats, self.conv
        top = len(widths) - 1
        levels = list(maps)
        levels[top] = SPPCSP(widths[top], conv, name="spp")(maps[top], train=train)
        for i in reversed(range(top)):
            block = TopDown(widths[i], repeats, conv, name=f"topdown{i}")
            levels[i] = block(levels[i + 1], maps[i], train=train)
        for i in range(1, top + 1):
            block = BottomUp(widths[i], repeats, conv, name=f"bottomup{i}")
            levels[i] = block(levels[i - 1], levels[i], train=train)
        return tuple(
            conv(2 * width, 3, name=f"output{i}")(level, train=train)
            for i, (width, level) in enumerate(zip(widths, levels, strict=True))
        )
