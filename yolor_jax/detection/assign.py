"""Which cells and anchors answer for which target, with static shapes.

A target and an anchor match if neither side differs by a factor of ``ratio_threshold`` or more:
max(w/aw, aw/w, h/ah, ah/h) < 4. For each match the cell that holds the target's centre is
responsible, and so are up to two neighbours: the ones across the nearer vertical and horizontal
cell border, if they lie in the grid. This is the rule of YOLOR's ``main`` branch.

All 5 x A x T combinations of a cell, an anchor and a target have a slot in the result, and a mask
says which of them are assigned: shapes do not depend on the targets, so that one compilation serves
every batch.

    assignment = assign(
        boxes_xyxy, labels, mask, anchors=spec.anchors[0], stride=8, grid_hw=(80, 80)
    )
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.decode import LevelAnchors


class Assignment(NamedTuple):
    """Which predictions of one level answer for which target, in M = 5 x A x T slots per image.

    M runs over cells (the centre's own, left, up, right, down), then anchors, then targets. Where
    the mask is false the rest is a placeholder: a cell inside the grid and a unit box.

    Attributes:
        cell: int32 [B, M, 3], the prediction's (anchor, row, column).
        boxes_cxcywh: float32 [B, M, 4], its target: centre as an offset from the cell's corner,
            width and height; grid units (pixels / stride).
        anchor_wh: float32 [B, M, 2], (width, height) of its anchor, grid units.
        labels: int32 [B, M], class of its target.
        mask: bool [B, M], true where the slot is assigned.
    """

    cell: Int[Array, "B M 3"]
    boxes_cxcywh: Float[Array, "B M 4"]
    anchor_wh: Float[Array, "B M 2"]
    labels: Int[Array, "B M"]
    mask: Bool[Array, "B M"]


def assign(
    boxes_xyxy: Float[Array, "B T 4"],
    labels: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    anchors: LevelAnchors,
    stride: int,
    grid_hw: tuple[int, int],
    ratio_threshold: int | float | Float[Array, ""] = 4.0,
) -> Assignment:
    """Assigns the targets of a batch to the cells and anchors of one level.

    Args:
        boxes_xyxy: [B, T, 4] in pixels of the network input, padded to T per image.
        labels: [B, T], from 0 to K - 1.
        mask: [B, T], true for a real target; what stands elsewhere does not matter.
        anchors: (width, height) in pixels of the network input, of this level.
        stride: pixels per cell.
        grid_hw: rows and columns of this level.
        ratio_threshold: sides must differ by less than this factor.

    Returns:
        ``Assignment``. A target without width or height is assigned to nothing.
    """
    # Padding may hold anything, NaN too, of which no index of a cell can be made.
    boxes_cxcywh = boxes.xyxy_to_cxcywh(jnp.where(mask[..., None], boxes_xyxy, 0)) / stride
    centre_xy, size_wh = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]  # [B, T, 2]
    anchor_wh = jnp.asarray(anchors, boxes_xyxy.dtype) / stride  # [A, 2]
    matches = _similar(size_wh, anchor_wh, ratio_threshold) & mask[:, None]  # [B, A, T]
    responsible, cell_xy = _cells(centre_xy, grid_hw)  # [B, 5, T], [B, 5, T, 2]

    full = (centre_xy.shape[0], 5, len(anchors), centre_xy.shape[1])  # [B, 5, A, T]
    flat = (full[0], full[1] * full[2] * full[3])
    assigned = (matches[:, None] & responsible[:, :, None]).reshape(flat)  # [B, M]

    def to_slots(values, *axes):
        """Repeats values along the axes of [B, 5, A, T] that they lack, and flattens to [B, M]."""
        values = jnp.expand_dims(values, axes)
        return jnp.broadcast_to(values, full + values.shape[4:]).reshape(flat + values.shape[4:])

    offset = to_slots(centre_xy[:, None] - cell_xy, 2)  # [B, M, 2]
    target = jnp.concatenate([offset, to_slots(size_wh, 1, 2)], axis=-1)
    rows_columns = to_slots(cell_xy[..., ::-1], 2).astype(jnp.int32)
    anchor_index = to_slots(jnp.arange(len(anchors), dtype=jnp.int32), 0, 1, 3)[..., None]
    return Assignment(
        cell=jnp.concatenate([anchor_index, rows_columns], axis=-1),
        # A unit box, not zeros: the loss takes the CIoU of every slot and masks it afterwards, so
        # that value and gradient must be finite there too.
        boxes_cxcywh=jnp.where(assigned[..., None], target, 1),
        anchor_wh=to_slots(anchor_wh, 0, 1, 3),
        labels=jnp.where(assigned, to_slots(labels, 1, 2), 0),
        mask=assigned,
    )


def _similar(
    size_wh: Float[Array, "B T 2"],
    anchor_wh: Float[Array, "A 2"],
    ratio_threshold: int | float | Float[Array, ""],
) -> Bool[Array, "B A T"]:
    """Whether neither side differs by the threshold or more; false for a side of length 0."""
    ratio = size_wh[:, None] / anchor_wh[None, :, None]  # [B, A, T, 2]
    return jnp.maximum(ratio, 1 / ratio).max(axis=-1) < ratio_threshold


def _cells(
    centre_xy: Float[Array, "B T 2"], grid_hw: tuple[int, int]
) -> tuple[Bool[Array, "B 5 T"], Float[Array, "B 5 T 2"]]:
    """Which of the centre's cell and its four neighbours are responsible, and their (x, y).

    A centre exactly on the grid's far border belongs to the last cell, at an offset of 1.
    """
    grid_wh = jnp.asarray(grid_hw[::-1], centre_xy.dtype)  # [2], columns and rows
    corner_xy = jnp.floor(centre_xy)
    past = centre_xy - corner_xy
    # Strict on both sides: a centre in the very middle of its cell has no nearer border.
    before = (past < 0.5) & (centre_xy > 1)  # [B, T, 2]: left, up
    after = (past > 0.5) & (centre_xy < (grid_wh - 1)[None, None])  # right, down
    own = jnp.ones(centre_xy.shape[:2], bool)
    responsible = jnp.stack(
        [own, before[..., 0], before[..., 1], after[..., 0], after[..., 1]], axis=1
    )
    steps = jnp.asarray([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], centre_xy.dtype)
    cells_xy = corner_xy[:, None] + steps[None, :, None]
    # Neighbours outside the grid are not responsible, but a scatter must not meet their indices.
    return responsible, jnp.clip(cells_xy, 0, (grid_wh - 1)[None, None, None])
