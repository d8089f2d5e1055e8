"""A model is data: one frozen `ModelSpec` holds all that distinguishes it from its relatives."""

import dataclasses

Anchors = tuple[tuple[tuple[float, float], ...], ...]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of the backbone: a 3x3 stride-2 convolution, then a block.

    Attributes:
        width: output channels.
        repeats: number of residual bottlenecks.
        csp: the bottlenecks work on one half of the channels (`nn.blocks.CSP`); otherwise they
            follow each other on all of them.
    """

    width: int
    repeats: int
    csp: bool = True


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """All that distinguishes a model.

    Attributes:
        name: its key in the zoo.
        stem: "conv" (3x3 convolution) or "space_to_depth" (2x2 blocks to channels, then the
            convolution at half the resolution).
        stem_width: output channels of the stem.
        stages: of the backbone; each halves the resolution.
        neck_widths: channels of the pyramid levels, finest first. The last ``len(neck_widths)``
            stages feed the pyramid.
        neck_repeats: bottlenecks in each block of the neck.
        anchors: (width, height) in pixels of the network input, by level and anchor.
        csp_leave: a 1x1 convolution ends the processed branch of the backbone's CSP blocks.
        activation: "silu" or "mish".
        bn_epsilon: of all batch norms.
        bn_momentum: weight of the new batch in the running statistics.
        alignment: operator of the implicit before each prediction convolution (iFA), or None.
        refinement: operator of the implicit behind it (iPR), or None.
    """

    name: str
    stem: str
    stem_width: int
    stages: tuple[Stage, ...]
    neck_widths: tuple[int, ...]
    neck_repeats: int
    anchors: Anchors
    csp_leave: bool = True
    activation: str = "silu"
    bn_epsilon: float = 1e-4
    bn_momentum: float = 0.03
    alignment: str | None = "add"
    refinement: str | None = "multiply"

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each pyramid level, finest first."""
        stem_stride = {"conv": 1, "space_to_depth": 2}[self.stem]
        deepest = stem_stride * 2 ** len(self.stages)
        levels = len(self.neck_widths)
        return tuple(deepest // 2 ** (levels - 1 - level) for level in range(levels))
