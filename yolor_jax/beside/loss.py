"""The detection loss in PyTorch, by dynamic shapes: only the targets that are there are computed.

```python
loss = detection_loss(network(images), targets, spec, LossConfig())
```
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from yolor_jax.boxes import EPSILON
from yolor_jax.detection.losses import BALANCE, MANY_LEVELS_OBJECTNESS, LossConfig
from yolor_jax.models.spec import ModelSpec

NEIGHBOURS = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]])


def detection_loss(
    logits: list[Tensor], targets: Tensor, spec: ModelSpec, config: LossConfig
) -> Tensor:
    """The loss of `detection.losses`, without its options.

    Args:
        logits: per level ``[B, A, h, w, 5 + K]``.
        targets: ``[N, 6]``, number of the image, class, and corners in pixels.
        spec: the model, for anchors and strides.
        config: the gains.

    Returns:
        The sum of its terms times B.
    """
    box = objectness = classification = torch.zeros(())
    for level, x in enumerate(logits):
        stride = spec.strides[level]
        anchors = torch.tensor(spec.anchors[level]) / stride
        cell, offset_xy, size_wh, anchor_wh, labels = assign(x, targets, anchors, stride, config)
        predicted = x[cell]  # [M, 5 + K]
        goal = torch.zeros(x.shape[:4])
        if len(labels):
            centre = 2 * predicted[:, :2].sigmoid() - 0.5
            size = (2 * predicted[:, 2:4].sigmoid()) ** 2 * anchor_wh
            overlap = ciou(centre, size, offset_xy, size_wh)
            box = box + (1 - overlap).mean()
            goal = scatter_max(goal, cell, overlap.detach().clamp(min=0))
            if x.shape[-1] > 6:
                one_hot = F.one_hot(labels, x.shape[-1] - 5).float()
                classification = classification + F.binary_cross_entropy_with_logits(
                    predicted[:, 5:], one_hot
                )
        weight = BALANCE[len(logits)][level]
        objectness = objectness + weight * F.binary_cross_entropy_with_logits(x[..., 4], goal)
    gain = config.objectness * (MANY_LEVELS_OBJECTNESS if len(logits) > 3 else 1)
    total = config.box * box + gain * objectness + config.classification * classification
    return total * (3 / len(logits)) * len(logits[0])


def assign(
    x: Tensor, targets: Tensor, anchors: Tensor, stride: int, config: LossConfig
) -> tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor, Tensor]:
    """The predictions that answer for a target, by the rule of `detection.assign`.

    Returns:
        Index (image, anchor, row, column), offsets of the centres, sizes, anchors' sizes, classes.
    """
    grid = torch.tensor([x.shape[3], x.shape[2]])
    centre = (targets[:, 2:4] + targets[:, 4:]) / (2 * stride)  # [N, 2]
    size = (targets[:, 4:] - targets[:, 2:4]) / stride
    ratio = size[None] / anchors[:, None]  # [A, N, 2]
    similar = torch.maximum(ratio, 1 / ratio).amax(2) < config.ratio_threshold
    past = centre % 1
    before, after = (past < 0.5) & (centre > 1), (past > 0.5) & (centre < grid - 1)
    own = torch.ones_like(before[:, :1])
    responsible = torch.cat([own, before, after], 1).T  # [5, N]
    neighbour, anchor, n = (responsible[:, None] & similar[None]).nonzero(as_tuple=True)
    corner = (centre.floor().long()[n] + NEIGHBOURS[neighbour]).clamp(min=0)
    column, row = torch.minimum(corner, grid - 1).unbind(1)
    cell = targets[n, 0].long(), anchor, row, column
    offset = centre[n] - torch.stack([column, row], 1)
    return cell, offset, size[n], anchors[anchor], targets[n, 1].long()


def scatter_max(zeros: Tensor, cell: tuple[Tensor, ...], values: Tensor) -> Tensor:
    """The map ``[B, A, h, w]`` with the values in their places, the largest of several."""
    image, anchor, row, column = cell
    _, anchors, height, width = zeros.shape
    index = ((image * anchors + anchor) * height + row) * width + column
    return zeros.flatten().scatter_reduce(0, index, values, "amax").view_as(zeros)


def ciou(centre: Tensor, size: Tensor, other_centre: Tensor, other_size: Tensor) -> Tensor:
    """CIoU of boxes ``[M, 2]`` and ``[M, 2]`` with others, elementwise (`boxes.ciou`)."""
    low, high = centre - size / 2, centre + size / 2
    other_low, other_high = other_centre - other_size / 2, other_centre + other_size / 2
    inter = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp(min=0).prod(1)
    iou = inter / (size.prod(1) + other_size.prod(1) - inter + EPSILON)
    hull = torch.maximum(high, other_high) - torch.minimum(low, other_low)
    distance = (centre - other_centre).square().sum(1) / (hull.square().sum(1) + EPSILON)
    angles = torch.atan(other_size[:, 0] / other_size[:, 1]) - torch.atan(size[:, 0] / size[:, 1])
    v = 4 / torch.pi**2 * angles.square()
    alpha = (v / (1 + EPSILON - iou + v)).detach()
    return iou - distance - alpha * v
