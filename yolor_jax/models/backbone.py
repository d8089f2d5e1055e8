"""CSPDarknet: a stem, then stages that each halve the resolution."""

import flax.linen as nn
from jaxtyping import Array, Float

from yolor_jax.models.spec import ModelSpec, Stage
from yolor_jax.nn.blocks import CSP, Bottleneck, ModuleDef
from yolor_jax.nn.remat import apply_block
from yolor_jax.nn.resample import TO_CHANNELS, CSPDown


def down(spec: ModelSpec, conv: ModuleDef, features: int) -> nn.Module:
    """The model's down-sampling by two."""
    if spec.down == "csp":
        return CSPDown(features, conv, name="down")
    return conv(features, 3, 2, name="down")


class BackboneStage(nn.Module):
    """Down-sampling, then residual bottlenecks in a CSP block or in a row."""

    spec: ModelSpec
    stage: Stage
    conv: ModuleDef
    joint_norm: ModuleDef | None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / 2, W / 2, stage.width]``; H and W where the stage does not halve."""
        width, repeats, conv = self.stage.width, self.stage.repeats, self.conv
        if self.stage.down:
            x = down(self.spec, conv, width)(x, train=train)
        if self.stage.csp:
            leave = self.spec.csp_leave
            return CSP(width, repeats, conv, self.joint_norm, leave, name="csp")(x, train=train)
        for i in range(repeats):
            x = Bottleneck(width, width // 2, conv, name=f"bottleneck{i}")(x, train=train)
        return x


class Backbone(nn.Module):
    """Image to feature maps.

    Attributes:
        spec: the model.
        conv: partial of `ConvUnit`.
        joint_norm: partial of `JointNorm`, or None.
        remat: the stages that are rematerialised, a regular expression (`nn.remat`).
    """

    spec: ModelSpec
    conv: ModuleDef
    joint_norm: ModuleDef | None
    remat: str = ""

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> tuple[Array, ...]:
        """Returns the maps ``[B, h, w, C]`` that feed the pyramid, finest first."""
        spec, x = self.spec, images
        for step in spec.stem:
            x = TO_CHANNELS[step](x)
        if spec.stem_width:
            x = self.conv(spec.stem_width, 3, name="stem")(x, train=train)
        maps = []
        for i, stage in enumerate(spec.stages, start=1):
            block = BackboneStage(spec, stage, self.conv, self.joint_norm, name=f"stage{i}")
            x = apply_block(block, x, train=train, remat=self.remat)
            maps.append(x)
        return tuple(maps[-len(spec.neck_widths) :])
