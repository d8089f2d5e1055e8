"""Feature pyramid: SPP-CSP at the top, then a top-down and a bottom-up path (PAN, Liu et al. 2018).

Levels are numbered from the finest, 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.models.backbone import down
from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.blocks import SPPCSP, ModuleDef, NeckCSP
from yolor_jax.nn.remat import apply_block
from yolor_jax.nn.resample import upsample2


class TopDown(nn.Module):
    """Merges the coarser level, upsampled, into a map of the backbone."""

    spec: ModelSpec
    level: int
    conv: ModuleDef
    joint_norm: ModuleDef | None

    @nn.compact
    def __call__(
        self, coarse: Float[Array, "B h w C"], fine: Float[Array, "B H W D"], *, train: bool
    ) -> Float[Array, "B H W F"]:
        """Returns ``[B, H, W, neck_widths[level]]`` with H = 2 h and W = 2 w."""
        width = self.spec.neck_widths[self.level]
        up = upsample2(self.conv(width, name="reduce")(coarse, train=train))
        lateral = self.conv(width, name="lateral")(fine, train=train)
        x = jnp.concatenate([lateral, up], axis=-1)
        return _block(self.spec, width, self.conv, self.joint_norm)(x, train=train)


class BottomUp(nn.Module):
    """Merges the finer level, halved, into a level of the top-down path."""

    spec: ModelSpec
    level: int
    conv: ModuleDef
    joint_norm: ModuleDef | None

    @nn.compact
    def __call__(
        self, fine: Float[Array, "B H W C"], level: Float[Array, "B h w D"], *, train: bool
    ) -> Float[Array, "B h w F"]:
        """Returns ``[B, h, w, neck_widths[level]]`` with h = H / 2 and w = W / 2."""
        width = self.spec.neck_widths[self.level]
        x = jnp.concatenate([down(self.spec, self.conv, width)(fine, train=train), level], axis=-1)
        return _block(self.spec, width, self.conv, self.joint_norm)(x, train=train)


def _block(spec: ModelSpec, width: int, conv: ModuleDef, joint_norm: ModuleDef | None) -> NeckCSP:
    """The block of a level, with the implicit knowledge that stands before it."""
    return NeckCSP(
        width, spec.neck_repeats, conv, joint_norm, before=spec.implicit.pyramid, name="csp"
    )


class Pyramid(NamedTuple):
    """What the neck gives, per level, finest first.

    Attributes:
        shared: the representation that all tasks share, ``[B, h, w, neck_widths[level]]``.
        detection: behind the entry of the detection branch, ``[B, h, w, 2 * neck_widths[level]]``.
    """

    shared: tuple[Array, ...]
    detection: tuple[Array, ...]


class Neck(nn.Module):
    """Backbone maps to one map per pyramid level.

    Attributes:
        spec: the model.
        conv: partial of `ConvUnit`.
        joint_norm: partial of `JointNorm`, or None.
        fused: the parameters are folded (`models.fold`).
        remat: the blocks that are rematerialised, a regular expression (`nn.remat`).
    """

    spec: ModelSpec
    conv: ModuleDef
    joint_norm: ModuleDef | None
    fused: bool
    remat: str = ""

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "B _h _w _C"]], *, train: bool) -> Pyramid:
        """Returns the levels, and for detection each behind a 3x3 convolution."""
        spec, conv, joint_norm = self.spec, self.conv, self.joint_norm
        top = len(spec.neck_widths) - 1
        levels = list(maps)
        spp = SPPCSP(
            spec.neck_widths[top],
            conv,
            joint_norm,
            repeats=spec.spp_repeats,
            pools_first=spec.spp_pools_first,
            before=spec.implicit.pyramid,
            fused=self.fused,
            name="spp",
        )
        levels[top] = apply_block(spp, maps[top], train=train, remat=self.remat)
        for i in reversed(range(top)):
            block = TopDown(spec, i, conv, joint_norm, name=f"topdown{i}")
            pair = levels[i + 1], maps[i]
            levels[i] = apply_block(block, *pair, train=train, remat=self.remat)
        for i in range(1, top + 1):
            block = BottomUp(spec, i, conv, joint_norm, name=f"bottomup{i}")
            pair = levels[i - 1], levels[i]
            levels[i] = apply_block(block, *pair, train=train, remat=self.remat)
        detection = tuple(
            conv(2 * width, 3, before=spec.implicit.branch, name=f"output{i}")(level, train=train)
            for i, (width, level) in enumerate(zip(spec.neck_widths, levels, strict=True))
        )
        return Pyramid(tuple(levels), detection)
