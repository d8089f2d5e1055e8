"""What is timed in PyTorch: a step of training, and prediction without NMS.

```python
step = TrainStep(network, spec)
loss = step(images, targets)            # [B, 3, H, W] uint8;  [N, 6] image class x1 y1 x2 y2
predict(folded, images)                 # [B, N, 5 + K]
```
"""

import copy

import torch
from torch import Tensor

from yolor_jax.beside.loss import detection_loss
from yolor_jax.beside.network import Network
from yolor_jax.detection.losses import LossConfig
from yolor_jax.models.spec import ModelSpec


class TrainStep:
    """One step of SGD on a network, which it changes, and on its moving average.

    Attributes:
        network: in the mode of training.
        average: of its parameters and statistics.
    """

    def __init__(self, network: torch.nn.Module, spec: ModelSpec, *, learning_rate: float = 0.01):
        self.network, self.spec, self.config = network.train(), spec, LossConfig()
        self.average = copy.deepcopy(network)
        kernels = [p for p in network.parameters() if p.ndim == 4 and p.shape[0] > 1]
        others = [p for p in network.parameters() if not (p.ndim == 4 and p.shape[0] > 1)]
        groups = [{"params": kernels, "weight_decay": 5e-4}, {"params": others}]
        self.optimizer = torch.optim.SGD(groups, learning_rate, momentum=0.937, nesterov=True)

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss before the step; images ``[B, 3, H, W]`` uint8, targets as `detection_loss`."""
        self.optimizer.zero_grad()
        loss = detection_loss(self.network(images.float() / 255), targets, self.spec, self.config)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            states = self.average.state_dict(), self.network.state_dict()
            pairs = [
                pair for pair in zip(*(s.values() for s in states), strict=True)
                if pair[0].is_floating_point()
            ]  # fmt: skip
            torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 0.001)
        return loss.detach()


@torch.inference_mode()
def predict(network: Network, images: Tensor, spec: ModelSpec) -> Tensor:
    """Images ``[B, 3, H, W]`` uint8 to decoded predictions ``[B, N, 5 + K]``, all of them."""
    # The weights say in which precision the network computes.
    dtype = next(network.parameters()).dtype
    return decode(network(images.to(dtype) / 255), spec)


def decode(logits: list[Tensor], spec: ModelSpec) -> Tensor:
    """Logits to ``[B, N, 5 + K]``: x y w h in pixels, objectness, classes (`detection.decode`)."""
    rows = []
    for x, anchors, stride in zip(logits, spec.anchors, spec.strides, strict=True):
        y = x.float().sigmoid()
        height, width = y.shape[2:4]
        grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cell_xy = torch.stack(grid[::-1], -1).to(y)
        anchor_wh = torch.tensor(anchors).to(y)[:, None, None]
        centre = (2 * y[..., :2] - 0.5 + cell_xy) * stride
        size = (2 * y[..., 2:4]) ** 2 * anchor_wh
        whole = torch.cat([centre, size, y[..., 4:]], -1)
        rows.append(whole.permute(0, 2, 3, 1, 4).flatten(1, 3))  # ours: cells, then anchors
    return torch.cat(rows, 1)
