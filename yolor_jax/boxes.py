"""Box formats and the intersection-over-union family: IoU, GIoU, DIoU, CIoU.

A box is four numbers on the last axis. Inside the library it is ``xyxy`` (left, top, right, bottom)
in pixels of the network input; other formats appear only at borders, and names say which.

The elementwise measures follow YOLOR's arithmetic, so that losses agree digit by digit: a small
``EPSILON`` is added to heights (not to widths), to the union, and to the enclosing box's area and
squared diagonal. The pairwise measures, used for matching and suppression, have no epsilon.

    >>> import jax.numpy as jnp
    >>> left = jnp.array([0.0, 0.0, 2.0, 2.0])
    >>> right = jnp.array([1.0, 0.0, 3.0, 2.0])
    >>> f"{iou(left, right):.4f}"
    '0.3333'
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

EPSILON = 1e-9

AnyArray = Array | np.ndarray
Boxes = Float[AnyArray, "*batch 4"]
Measure = Float[AnyArray, "*batch"]
Number = int | float | Float[AnyArray, "..."] | Int[AnyArray, "..."]


def xyxy_to_cxcywh(boxes_xyxy: Boxes) -> Boxes:
    """Corners to centre and size: (left, top, right, bottom) -> (x, y, width, height)."""
    left_top, right_bottom = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return jnp.concatenate([(left_top + right_bottom) / 2, right_bottom - left_top], axis=-1)


def cxcywh_to_xyxy(boxes_cxcywh: Boxes) -> Boxes:
    """Centre and size to corners: (x, y, width, height) -> (left, top, right, bottom)."""
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return jnp.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_xywh(boxes_xyxy: Boxes) -> Boxes:
    """Corners to COCO's annotation format: (left, top, width, height)."""
    left_top, right_bottom = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return jnp.concatenate([left_top, right_bottom - left_top], axis=-1)


def area(boxes_xyxy: Boxes) -> Measure:
    """Width times height, [...]; an inverted box is not clamped: its area may be negative."""
    size = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return size[..., 0] * size[..., 1]


def _length(x: Float[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
    """The positive part, whose gradient at exactly zero is one: touching boxes attract."""
    return jnp.where(x >= 0, x, 0)


def _overlap_and_union(boxes_xyxy: Boxes, others_xyxy: Boxes) -> tuple[Measure, Measure]:
    left_top = jnp.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    right_bottom = jnp.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    side = _length(right_bottom - left_top)  # [..., 2]
    overlap = side[..., 0] * side[..., 1]
    width, height = _width_height(boxes_xyxy)
    other_width, other_height = _width_height(others_xyxy)
    return overlap, width * height + other_width * other_height - overlap + EPSILON


def _width_height(boxes_xyxy: Boxes) -> tuple[Measure, Measure]:
    width = boxes_xyxy[..., 2] - boxes_xyxy[..., 0]
    return width, boxes_xyxy[..., 3] - boxes_xyxy[..., 1] + EPSILON


def _enclosing_size(boxes_xyxy: Boxes, others_xyxy: Boxes) -> tuple[Measure, Measure]:
    left_top = jnp.minimum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    right_bottom = jnp.maximum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    size = right_bottom - left_top
    return size[..., 0], size[..., 1]


def iou(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Measure:
    """Intersection over union of corresponding boxes.

    Args:
        boxes_xyxy: [..., 4], any one unit of length.
        others_xyxy: [..., 4], same shape and unit.

    Returns:
        [...], between 0 and 1, in the dtype of the boxes.
    """
    overlap, union = _overlap_and_union(boxes_xyxy, others_xyxy)
    return overlap / union


def giou(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Measure:
    """Generalised IoU (arXiv 1902.09630): less the part of the enclosing box that is empty.

    Arguments and result as in ``iou``; the values lie between -1 and 1.
    """
    overlap, union = _overlap_and_union(boxes_xyxy, others_xyxy)
    width, height = _enclosing_size(boxes_xyxy, others_xyxy)
    enclosing = width * height + EPSILON
    return overlap / union - (enclosing - union) / enclosing


def diou(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Measure:
    """Distance IoU (arXiv 1911.08287): less (centre distance / enclosing diagonal) squared.

    Arguments and result as in ``iou``; the values lie between -1 and 1.
    """
    width, height = _enclosing_size(boxes_xyxy, others_xyxy)
    diagonal_squared = width**2 + height**2 + EPSILON
    shift = (
        others_xyxy[..., :2] + others_xyxy[..., 2:] - boxes_xyxy[..., :2] - boxes_xyxy[..., 2:]
    )  # [..., 2], twice the distance of the centres
    distance_squared = (shift[..., 0] ** 2 + shift[..., 1] ** 2) / 4
    return iou(boxes_xyxy, others_xyxy) - distance_squared / diagonal_squared


def ciou(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Measure:
    """Complete IoU (arXiv 1911.08287): DIoU less a penalty for different aspect ratios.

    CIoU = DIoU - alpha v, with v = (2/pi (atan w'/h' - atan w/h))^2 and alpha = v / (1 - IoU + v),
    which is a constant for the gradient. Where both v and 1 - IoU vanish (identical boxes), alpha
    is 0, so value and gradient stay finite.

    Arguments and result as in ``iou``; the values lie between -2 and 1.
    """
    width, height = _width_height(boxes_xyxy)
    other_width, other_height = _width_height(others_xyxy)
    angle = jnp.arctan(other_width / other_height) - jnp.arctan(width / height)
    v = (4 / math.pi**2) * angle**2
    # Rounding may push IoU above 1; without the clamp alpha could divide by zero there.
    missing = jnp.maximum((1 + EPSILON) - iou(boxes_xyxy, others_xyxy), 0)
    different = missing + v > 0
    alpha = jnp.where(different, v / jnp.where(different, missing + v, 1), 0)
    return diou(boxes_xyxy, others_xyxy) - jax.lax.stop_gradient(alpha) * v


def pairwise_iou(
    boxes_xyxy: Float[AnyArray, "N 4"], others_xyxy: Float[AnyArray, "M 4"]
) -> Float[Array, "N M"]:
    """IoU of every box with every other one, without epsilon; 0 where both are empty.

    Batches: ``jax.vmap(pairwise_iou)``.
    """
    boxes_xyxy, others_xyxy = boxes_xyxy[:, None], others_xyxy[None]
    left_top = jnp.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])  # [N, M, 2]
    right_bottom = jnp.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    side = _length(right_bottom - left_top)
    overlap = side[..., 0] * side[..., 1]  # [N, M]
    return _ratio(overlap, area(boxes_xyxy) + area(others_xyxy) - overlap)


def pairwise_wh_iou(
    sizes_wh: Float[AnyArray, "N 2"], others_wh: Float[AnyArray, "M 2"]
) -> Float[Array, "N M"]:
    """IoU of every size with every other one, as if the boxes shared their centre."""
    sizes_wh, others_wh = sizes_wh[:, None], others_wh[None]
    side = jnp.minimum(sizes_wh, others_wh)  # [N, M, 2]
    overlap = side[..., 0] * side[..., 1]  # [N, M]
    areas = sizes_wh[..., 0] * sizes_wh[..., 1] + others_wh[..., 0] * others_wh[..., 1]
    return _ratio(overlap, areas - overlap)


def _ratio(overlap: Float[AnyArray, "*shape"], union: Float[AnyArray, "*shape"]):
    return jnp.where(union > 0, overlap / jnp.where(union > 0, union, 1), 0)


def clip(
    boxes_xyxy: Boxes,
    height: Number,
    width: Number,
) -> Boxes:
    """Moves the corners into an image.

    Args:
        boxes_xyxy: [..., 4].
        height: of the image, in the unit of the boxes: a number, or an array that broadcasts
            against [...].
        width: of the image, in the same forms.

    Returns:
        [..., 4]; a box outside the image becomes an empty one on its border.
    """
    high_x = jnp.asarray(width).astype(boxes_xyxy.dtype)
    high_y = jnp.asarray(height).astype(boxes_xyxy.dtype)
    high = jnp.stack([high_x, high_y, high_x, high_y], axis=-1)  # [..., 4] or [4]
    return jnp.clip(boxes_xyxy, 0, jnp.broadcast_to(high, boxes_xyxy.shape))


def letterbox_to_original(
    boxes_xyxy: Float[AnyArray, "*batch N 4"],
    letterbox: Float[AnyArray, "*batch 3"],
    original_size: Int[AnyArray, "*batch 2"],
) -> Float[Array, "*batch N 4"]:
    """Boxes on a letterboxed network input, back on the image it was made from.

    Args:
        boxes_xyxy: [..., N, 4] in pixels of the network input.
        letterbox: [..., 3] = (scale, pad_x, pad_y) with
            ``network_x = original_x * scale + pad_x``.
        original_size: [..., 2] = (height, width) in pixels.

    Returns:
        [..., N, 4] in pixels of the original image, clipped to it.
    """
    scale, pad = letterbox[..., None, :1], letterbox[..., None, 1:]  # [..., 1, 1], [..., 1, 2]
    boxes_xyxy = (boxes_xyxy - jnp.concatenate([pad, pad], axis=-1)) / scale
    size = jnp.asarray(original_size)
    return clip(boxes_xyxy, size[..., None, 0], size[..., None, 1])
