"""CSPDarknet: a stem, then stages that each halve the resolution."""

import flax.linen as nn
from jaxtyping import Array, Float

from yolor_jax.models.spec import ModelSpec, Stage
from yolor_jax.nn.blocks import CSP, Bottleneck, ModuleDef
from yolor_jax.nn.resample import space_to_depth


class BackboneStage(nn.Module):
    """3x3 stride-2 convolution, then residual bottlenecks in a CSP block or in a row."""

    stage: Stage
    csp_leave: bool
    conv: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / 2, W / 2, stage.width]``."""
        width, repeats = self.stage.width, self.stage.repeats
        x = self.conv(width, 3, 2, name="down")(x, train=train)
        if self.stage.csp:
            return CSP(width, repeats, self.conv, self.csp_leave, name="csp")(x, train=train)
        for i in range(repeats):
            x = Bottleneck(width, width // 2, self.conv, name=f"bottleneck{i}")(x, train=train)
        return x


class Backbone(nn.Module):
    """Image to feature maps.

    Attributes:
        spec: the model.
        conv: partial of `ConvUnit`.
    """

    spec: ModelSpec
    conv: ModuleDef

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool) -> tuple[Array, ...]:
        """Returns the maps ``[B, h, w, C]`` that feed the pyramid, finest first."""
        spec = self.spec
        x = space_to_depth(images) if spec.stem == "space_to_depth" else images
        x = self.conv(spec.stem_width, 3, name="stem")(x, train=train)
        maps = []
        for i, stage in enumerate(spec.stages, start=1):
            x = BackboneStage(stage, spec.csp_leave, self.conv, name=f"stage{i}")(x, train=train)
            maps.append(x)
        return tuple(maps[-len(spec.neck_widths) :])
