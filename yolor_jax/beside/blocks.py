"""The blocks of `nn.blocks` in PyTorch, with its own convolutions, batch norms and layout (NCHW).

```python
parts = Parts(MODELS["yolor_nano"], fused=False)
y = CSP(parts, c=24, f=48, repeats=1)(x)        # [B, 24, H, W] -> [B, 48, H, W]
```
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolor_jax.models.spec import ModelSpec

ACTIVATIONS = {"silu": nn.SiLU, "mish": nn.Mish}


class Parts:
    """Makes the units of one network.

    Attributes:
        spec: the model.
        fused: for folded variables: convolutions with bias, and no batch norm.
    """

    def __init__(self, spec: ModelSpec, fused: bool):
        self.spec, self.fused = spec, fused

    def conv(self, c: int, f: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
        """Convolution, batch norm, activation; ``[B, c, H, W] -> [B, f, H / stride, ...]``."""
        unit = self.bare(c, f, kernel, stride)
        if not self.fused:
            unit.add_module("bn", self.norm(f))
        unit.add_module("act", self.act())
        return unit

    def bare(self, c: int, f: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
        """The convolution alone."""
        unit = nn.Sequential()
        unit.add_module("conv", nn.Conv2d(c, f, kernel, stride, kernel // 2, bias=self.fused))
        return unit

    def end(self, c: int, f: int) -> nn.Sequential:
        """What ends a branch of a CSP block: bare where a joint norm follows."""
        return self.bare(c, f) if self.spec.joint_norm else self.conv(c, f)

    def norm(self, f: int) -> nn.BatchNorm2d:
        """A batch norm of f channels."""
        return nn.BatchNorm2d(f, eps=self.spec.bn_epsilon, momentum=self.spec.bn_momentum)

    def act(self) -> nn.Module:
        """The model's activation."""
        return ACTIVATIONS[self.spec.activation](inplace=True)

    def down(self, c: int, f: int) -> nn.Module:
        """Down-sampling by two."""
        return CSPDown(self, c, f) if self.spec.down == "csp" else self.conv(c, f, 3, 2)


class Join(nn.Module):
    """Concatenation of two branches of f channels, with the joint norm where the model has it."""

    def __init__(self, parts: Parts, f: int, *, bare: bool):
        super().__init__()
        if parts.spec.joint_norm:
            if not parts.fused:
                self.bn = parts.norm(2 * f)
            elif not bare:
                self.affine = Affine(f)
            self.act = parts.act()

    def forward(self, processed: Tensor, shortcut: Tensor) -> Tensor:
        """Returns ``[B, 2 f, H, W]``."""
        if hasattr(self, "affine"):
            processed = self.affine(processed)
        x = torch.cat([processed, shortcut], 1)
        if hasattr(self, "bn"):
            x = self.bn(x)
        return self.act(x) if hasattr(self, "act") else x


class Affine(nn.Module):
    """``weight . x + bias`` for each of f channels."""

    def __init__(self, f: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(f)), nn.Parameter(torch.zeros(f))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the shape of x."""
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


class CSPDown(nn.Module):
    """Down-sampling by two on two paths."""

    def __init__(self, parts: Parts, c: int, f: int):
        super().__init__()
        self.mix = parts.conv(c, c)
        self.stride = parts.conv(c, f // 2, 3, 2)
        self.pooled = parts.conv(c, f // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, H / 2, W / 2]``."""
        return torch.cat([self.stride(self.mix(x)), self.pooled(F.max_pool2d(x, 2))], 1)


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with or without the residual sum."""

    def __init__(self, parts: Parts, c: int, hidden: int, f: int, *, residual: bool):
        super().__init__()
        self.reduce, self.expand = parts.conv(c, hidden), parts.conv(hidden, f, 3)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, H, W]``."""
        y = self.expand(self.reduce(x))
        return x + y if self.residual else y


class CSP(nn.Module):
    """CSP block of the backbone."""

    def __init__(self, parts: Parts, c: int, f: int, repeats: int):
        super().__init__()
        half, leave = f // 2, parts.spec.csp_leave
        self.shortcut, self.enter = parts.end(c, half), parts.conv(c, half)
        self.bottlenecks = add_bottlenecks(self, parts, repeats, half, half, residual=True)
        if leave:
            self.leave = parts.end(half, half)
        self.join, self.merge = Join(parts, half, bare=leave), parts.conv(f, f)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, H, W]``."""
        y = self.enter(x)
        for name in self.bottlenecks:
            y = getattr(self, name)(y)
        if hasattr(self, "leave"):
            y = self.leave(y)
        return self.merge(self.join(y, self.shortcut(x)))


class NeckCSP(nn.Module):
    """CSP block of the neck."""

    def __init__(self, parts: Parts, c: int, f: int):
        super().__init__()
        self.enter, self.shortcut = parts.conv(c, f), parts.end(f, f)
        repeats = parts.spec.neck_repeats
        self.bottlenecks = add_bottlenecks(self, parts, repeats, f, f, residual=False)
        self.join, self.merge = Join(parts, f, bare=False), parts.conv(2 * f, f)

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, H, W]``."""
        y = t = self.enter(x)
        for name in self.bottlenecks:
            y = getattr(self, name)(y)
        return self.merge(self.join(y, self.shortcut(t)))


class SPPCSP(nn.Module):
    """Spatial pyramid pooling inside a CSP block."""

    def __init__(self, parts: Parts, c: int, f: int):
        super().__init__()
        self.shortcut, self.enter = parts.end(c, f), parts.conv(c, f)
        self.mix, self.squeeze = parts.conv(f, f, 3), parts.conv(f, f)
        repeats = parts.spec.spp_repeats
        self.bottlenecks = add_bottlenecks(self, parts, repeats, 4 * f, f, residual=False)
        self.join, self.merge = Join(parts, f, bare=False), parts.conv(2 * f, f)
        self.pools_first = parts.spec.spp_pools_first

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``[B, f, H, W]``."""
        t = self.squeeze(self.mix(self.enter(x)))
        pool5 = F.max_pool2d(t, 5, 1, 2)
        pool9 = F.max_pool2d(pool5, 5, 1, 2)
        pool13 = F.max_pool2d(pool9, 5, 1, 2)
        y = torch.cat(
            [pool13, pool9, pool5, t] if self.pools_first else [t, pool5, pool9, pool13], 1
        )
        for name in self.bottlenecks:
            y = getattr(self, name)(y)
        return self.merge(self.join(y, self.shortcut(x)))


def add_bottlenecks(
    block: nn.Module, parts: Parts, repeats: int, c: int, f: int, *, residual: bool
) -> list[str]:
    """Adds bottlenecks of f channels in a row, the first of c; returns their names."""
    names = [f"bottleneck{i}" for i in range(repeats)]
    for i, name in enumerate(names):
        block.add_module(name, Bottleneck(parts, f if i else c, f, f, residual=residual))
    return names
