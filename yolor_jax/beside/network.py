"""A detector of the zoo in PyTorch, from the same spec: what our speed is measured against.

    network = Network(MODELS["yolor_nano"], num_classes=6)
    load(network, variables)                              # as trained; or folded, with fused=True
    logits = network(images)                              # per level [B, A, h, w, 5 + K]

Written as one writes it in PyTorch: modules of `torch.nn`, NCHW, batch norms that are its own. The
names of the modules are the paths of our parameters.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolor_jax.beside.blocks import CSP, SPPCSP, Bottleneck, NeckCSP, Parts
from yolor_jax.errors import InputError
from yolor_jax.models.spec import Implicits, ModelSpec, Stage
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.names import to_torch_layout

RELEASED = (Implicits(), Implicits(alignment=Knowledge("add"), refinement=Knowledge("multiply")))
LEAVES = {
    "kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean",
    "var": "running_var", "z": "z",
}  # fmt: skip


def make_stage(parts: Parts, c: int, stage: Stage) -> nn.Sequential:
    """A stage of the backbone behind c channels."""
    made, f = nn.Sequential(), stage.width
    if stage.down:
        made.add_module("down", parts.down(c, f))
        c = f
    if stage.csp:
        made.add_module("csp", CSP(parts, c, f, stage.repeats))
    else:
        for i in range(stage.repeats):
            made.add_module(f"bottleneck{i}", Bottleneck(parts, c, f // 2, f, residual=True))
    return made


class Backbone(nn.Module):
    """Images to the maps that feed the pyramid, finest first."""

    def __init__(self, parts: Parts):
        super().__init__()
        spec = parts.spec
        self.steps, self.levels = spec.stem, len(spec.neck_widths)
        c = 3 * 4 ** len(spec.stem)
        if spec.stem_width:
            self.stem = parts.conv(c, spec.stem_width, 3)
            c = spec.stem_width
        self.stages = [f"stage{i}" for i in range(1, len(spec.stages) + 1)]
        for name, stage in zip(self.stages, spec.stages, strict=True):
            self.add_module(name, make_stage(parts, c, stage))
            c = stage.width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns a map ``[B, C, h, w]`` for each level."""
        for step in self.steps:
            x = TO_CHANNELS[step](x)
        if hasattr(self, "stem"):
            x = self.stem(x)
        maps = []
        for name in self.stages:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps[-self.levels :]


def space_to_depth(x: Tensor) -> Tensor:
    """``[B, C, H, W] -> [B, 4 C, H / 2, W / 2]``."""
    return torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1)


def haar_wavelet(x: Tensor) -> Tensor:
    """One level of the Haar wavelet transform, ``[B, C, H, W] -> [B, 4 C, H / 2, W / 2]``."""
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 2) / 4 + 0.5
    return torch.cat([(a + b + c + d) / 4, details.flatten(1, 2)], 1)


TO_CHANNELS = {"space_to_depth": space_to_depth, "haar_wavelet": haar_wavelet}


class TopDown(nn.Module):
    """Merges the coarser level of c channels, upsampled, into a map of d channels."""

    def __init__(self, parts: Parts, c: int, d: int, f: int):
        super().__init__()
        self.reduce, self.lateral = parts.conv(c, f), parts.conv(d, f)
        self.csp = NeckCSP(parts, 2 * f, f)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Returns ``[B, f, H, W]``, the size of the finer one."""
        up = F.interpolate(self.reduce(coarse), scale_factor=2, mode="nearest")
        return self.csp(torch.cat([self.lateral(fine), up], 1))


class BottomUp(nn.Module):
    """Merges the finer level of c channels, halved, into one of f channels."""

    def __init__(self, parts: Parts, c: int, f: int):
        super().__init__()
        self.down, self.csp = parts.down(c, f), NeckCSP(parts, 2 * f, f)

    def forward(self, fine: Tensor, level: Tensor) -> Tensor:
        """Returns ``[B, f, h, w]``, the size of the coarser one."""
        return self.csp(torch.cat([self.down(fine), level], 1))


class Neck(nn.Module):
    """Maps of the backbone to those in front of the prediction, finest first."""

    def __init__(self, parts: Parts):
        super().__init__()
        widths = parts.spec.neck_widths
        maps = [stage.width for stage in parts.spec.stages[-len(widths) :]]
        self.top = top = len(widths) - 1
        self.spp = SPPCSP(parts, maps[top], widths[top])
        for i in range(top):
            self.add_module(f"topdown{i}", TopDown(parts, widths[i + 1], maps[i], widths[i]))
            self.add_module(f"bottomup{i + 1}", BottomUp(parts, widths[i], widths[i + 1]))
        for i, width in enumerate(widths):
            self.add_module(f"output{i}", parts.conv(width, 2 * width, 3))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Returns a map ``[B, 2 width, h, w]`` for each level."""
        levels = list(maps)
        levels[self.top] = self.spp(maps[self.top])
        for i in reversed(range(self.top)):
            levels[i] = getattr(self, f"topdown{i}")(levels[i + 1], maps[i])
        for i in range(1, self.top + 1):
            levels[i] = getattr(self, f"bottomup{i}")(levels[i - 1], levels[i])
        return [getattr(self, f"output{i}")(level) for i, level in enumerate(levels)]


class Latent(nn.Module):
    """The learned vector z ``[1, C, 1, 1]``."""

    def __init__(self, channels: int):
        super().__init__()
        self.z = nn.Parameter(torch.zeros(1, channels, 1, 1))


class Prediction(nn.Module):
    """The prediction convolution of a level, with implicit knowledge where it has some."""

    def __init__(self, parts: Parts, c: int, f: int):
        super().__init__()
        self.conv = nn.Conv2d(c, f, 1)
        if parts.spec.implicit.alignment and not parts.fused:
            self.implicit_before, self.implicit_after = Latent(c), Latent(f)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, h, w]``."""
        if not hasattr(self, "implicit_before"):
            return self.conv(x)
        return self.implicit_after.z * self.conv(x + self.implicit_before.z)


class Network(nn.Module):
    """The detector.

    Args:
        spec: the model.
        num_classes: K.
        fused: for folded variables.

    Raises:
        InputError: the model has tasks, or implicit knowledge that the released ones have not.
    """

    def __init__(self, spec: ModelSpec, num_classes: int, *, fused: bool = False):
        if spec.tasks or spec.implicit not in RELEASED:
            raise InputError(
                f"{spec.name} has tasks or implicit knowledge that the network in PyTorch lacks; "
                "take a model of the zoo as it is"
            )
        super().__init__()
        parts = Parts(spec, fused)
        self.anchors = len(spec.anchors[0])
        self.backbone, self.neck, self.head = Backbone(parts), Neck(parts), nn.Module()
        for i, width in enumerate(spec.neck_widths):
            outputs = self.anchors * (5 + num_classes)
            self.head.add_module(f"level{i}", Prediction(parts, 2 * width, outputs))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images ``[B, 3, H, W]`` in 0..1 to logits ``[B, A, h, w, 5 + K]``, finest level first."""
        features = self.neck(self.backbone(images))
        logits = []
        for i, x in enumerate(features):
            y = getattr(self.head, f"level{i}")(x).unflatten(1, (self.anchors, -1))
            logits.append(y.permute(0, 1, 3, 4, 2))
        return logits


def load(network: Network, variables: Mapping) -> None:
    """Copies our variables, as trained or folded, into the network that fits them.

    Raises:
        RuntimeError: a tensor is missing, unused or of another shape (by ``load_state_dict``).
    """
    state = {}
    for full_path, array in flatten_by_path(variables).items():
        path = full_path.partition("/")[2]  # behind the collection
        *modules, leaf = path.split("/")
        tensor = torch.tensor(to_torch_layout(path, array))
        state[".".join([*modules, LEAVES[leaf]])] = tensor
    counters = {name: t for name, t in network.state_dict().items() if "num_batches" in name}
    network.load_state_dict(state | counters)
