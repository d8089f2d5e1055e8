"""Logits to boxes: the inverse of what the loss compares, in pixels of the network input.

For the cell (gx, gy) of a level with stride s, and an anchor of size (aw, ah) pixels:

    x = (2 sigmoid(tx) - 0.5 + gx) s      w = (2 sigmoid(tw))^2 aw
    y = (2 sigmoid(ty) - 0.5 + gy) s      h = (2 sigmoid(th))^2 ah

so a centre may lie half a cell outside its cell, and a size is at most four times the anchor's.
Objectness and classes are sigmoids. Nothing is clipped. The loss compares the same `activate`.

    decoded = decode(outputs.detect, anchors=spec.anchors, strides=spec.strides)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.errors import InputError

Pixels = int | float
LevelAnchors = tuple[tuple[Pixels, Pixels], ...]


class Decoded(NamedTuple):
    """Every prediction of a batch; N runs over levels, then y, then x, then anchors.

    Attributes:
        boxes_cxcywh: float32 [B, N, 4], centre and size in pixels of the network input.
        objectness: float32 [B, N], probability that there is an object.
        probabilities: float32 [B, N, K], of each class given that there is an object.
    """

    boxes_cxcywh: Float[Array, "B N 4"]
    objectness: Float[Array, "B N"]
    probabilities: Float[Array, "B N K"]


def activate(
    box_logits: Float[Array, "*batch 4"],
    anchor_wh: Float[Array, "... 2"],  # not #batch, which cannot compare the sizes of jax.export
) -> tuple[Float[Array, "*batch 2"], Float[Array, "*batch 2"]]:
    """Logits of boxes to centres and sizes; used by `decode` and by the loss.

    Args:
        box_logits: [..., 4], tx ty tw th.
        anchor_wh: (width, height) of the anchors, broadcast against [..., 2]; any unit.

    Returns:
        The centre (x, y) in cells, as an offset from the corner of the cell, and the size
        (width, height) in the unit of the anchors.
    """
    activated = jax.nn.sigmoid(box_logits)
    centre_xy = 2 * activated[..., :2] - 0.5
    size_wh = (2 * activated[..., 2:]) ** 2 * anchor_wh
    return centre_xy, size_wh


def decode(
    predictions: tuple[Float[Array, "B _ _ _ O"], ...],
    *,
    anchors: tuple[LevelAnchors, ...],
    strides: tuple[int, ...],
) -> Decoded:
    """Decodes the logits of all levels, in float32 whatever their dtype.

    Args:
        predictions: one [B, h, w, A, 5 + K] per level: x y w h objectness classes.
        anchors: per level and anchor, (width, height) in pixels of the network input.
        strides: pixels per cell of each level.

    Returns:
        ``Decoded``.

    Raises:
        InputError: if anchors or strides do not fit the predictions.
    """
    check_levels(predictions, anchors, strides)
    levels = [
        _decode_level(logits, level_anchors, stride)
        for logits, level_anchors, stride in zip(predictions, anchors, strides, strict=True)
    ]
    return Decoded(*(jnp.concatenate(parts, axis=1) for parts in zip(*levels, strict=True)))


def check_levels(predictions, anchors, strides) -> None:
    """Raises InputError unless every level has predictions, anchors and a stride that agree."""
    if not len(predictions) == len(anchors) == len(strides) > 0:
        raise InputError(
            f"got {len(predictions)} levels of predictions, {len(anchors)} of anchors and "
            f"{len(strides)} strides; expected one of each per level: take all from one ModelSpec"
        )
    for level, (logits, level_anchors) in enumerate(zip(predictions, anchors, strict=True)):
        if logits.shape[3] != len(level_anchors):
            raise InputError(
                f"level {level}: got {logits.shape[3]} anchors in predictions of shape "
                f"{logits.shape}, expected {len(level_anchors)}, as in anchors {level_anchors}"
            )


def _decode_level(logits: Float[Array, "B h w A O"], anchors: LevelAnchors, stride: int) -> Decoded:
    batch, height, width, num_anchors, outputs = logits.shape
    # A bfloat16 coordinate above 1024 pixels moves in steps of 8.
    logits = logits.astype(jnp.float32)
    cell_y, cell_x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    cell_xy = jnp.stack([cell_x, cell_y], axis=-1).astype(jnp.float32)  # [h, w, 2]
    anchor_wh = jnp.asarray(anchors, jnp.float32)  # [A, 2]
    centre_xy, size_wh = activate(logits[..., :4], anchor_wh[None, None, None])
    centre_xy = (centre_xy + cell_xy[None, :, :, None]) * stride
    probabilities = jax.nn.sigmoid(logits[..., 4:])  # objectness, classes
    rows = (batch, height * width * num_anchors)
    return Decoded(
        boxes_cxcywh=jnp.concatenate([centre_xy, size_wh], axis=-1).reshape(*rows, 4),
        objectness=probabilities[..., 0].reshape(rows),
        probabilities=probabilities[..., 1:].reshape(*rows, outputs - 5),
    )
