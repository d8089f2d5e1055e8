"""Non-maximum suppression (NMS) with static shapes: a batch at once, under jit, on any device.

Every (prediction, class) pair whose score = objectness x probability exceeds the threshold is a
candidate. Taken by descending score, a candidate is kept unless its IoU with one kept before
exceeds the IoU threshold. Suppression is per class, by moving each class 4096 pixels further
along both axes, in float32 as YOLOR does it (for high classes that rounds to 1/32 pixel, which
can decide). Nothing waits on a clock: the same input gives the same boxes on any machine.

Only the ``max_candidates`` best candidates are looked at; what lies below is dropped silently.
Ties go to the lower index (prediction first, then class). The search begins among the ``FEW`` best,
and ends there where no image of the batch has more or room for more: the same boxes, in less time.

    detections = non_max_suppression(
        decoded, score_threshold=0.25, iou_threshold=0.45, max_candidates=4096
    )

A batch that is sharded over devices goes through ``jax.shard_map`` with the batch axis: each device
then works on its images alone. Under plain ``jit`` the result is the same, but XLA gathers all
scores on every device for ``top_k``, and the devices wait for each other in every step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.candidates import (
    Candidates,
    Detections,
    Threshold,
    find_candidates,
    gather,
    take_rows,
)
from yolor_jax.detection.decode import Decoded
from yolor_jax.detection.greedy import BEST, keep_greedily

CLASS_OFFSET = 4096.0  # pixels; larger than any network input
FEW = BEST  # candidates of each image that are looked at first
MERGE_LIMIT = 3000  # from this many candidates on, YOLOR does not merge


def non_max_suppression(
    decoded: Decoded,
    *,
    score_threshold: Threshold,
    iou_threshold: Threshold,
    max_candidates: int,
    max_detections: int = 300,
    allowed_classes: Bool[Array, " K"] | None = None,
) -> Detections:
    """Greedy NMS in which boxes of different classes do not suppress each other.

    Candidates are searched from the best on, until no image has more or room for more.

    Args:
        decoded: predictions of a batch; any float dtype, computed in float32.
        score_threshold: objectness and score must both exceed it.
        iou_threshold: a box goes if its IoU with a better one exceeds it.
        max_candidates: how many (prediction, class) pairs per image take part, best first. Scores
            below are dropped silently: at a threshold of 0.001, as in evaluation, a COCO image
            has up to tens of thousands, at 0.25 a few hundred.
        max_detections: D, the number of rows returned for each image.
        allowed_classes: bool [K], true for the classes to look for; None for all.

    Returns:
        ``Detections``.

    Raises:
        InputError: if ``max_candidates``, ``max_detections`` or a size of ``decoded`` is below 1,
            or ``allowed_classes`` has another shape.
    """
    limits = score_threshold, iou_threshold, max_candidates, max_detections
    return _suppress(decoded, *limits, allowed_classes, CLASS_OFFSET)


def class_agnostic_nms(
    decoded: Decoded,
    *,
    score_threshold: Threshold,
    iou_threshold: Threshold,
    max_candidates: int,
    max_detections: int = 300,
    allowed_classes: Bool[Array, " K"] | None = None,
) -> Detections:
    """Greedy NMS in which a box suppresses those of any class.

    Arguments, result and errors as of ``non_max_suppression``.
    """
    limits = score_threshold, iou_threshold, max_candidates, max_detections
    return _suppress(decoded, *limits, allowed_classes, 0.0)


def merging_nms(
    decoded: Decoded,
    *,
    score_threshold: Threshold,
    iou_threshold: Threshold,
    max_candidates: int,
    max_detections: int = 300,
    allowed_classes: Bool[Array, " K"] | None = None,
) -> Detections:
    """Per-class NMS that averages what it suppresses.

    Each kept box becomes the score-weighted mean of all candidates whose IoU with it exceeds the
    threshold, and is dropped if there is none but itself. As in YOLOR, an image with a single
    candidate, or with 3000 or more, gets plain ``non_max_suppression``, whose arguments and errors
    this function shares.
    """
    candidates = find_candidates(
        decoded, score_threshold, max_candidates, max_detections, allowed_classes, CLASS_OFFSET
    )
    kept, mask = keep_greedily(candidates, iou_threshold, max_detections)
    merged_xyxy, companions = jax.vmap(_merge, in_axes=(0, 0, None))(
        candidates, kept, iou_threshold
    )
    merges = (candidates.number > 1) & (candidates.number < MERGE_LIMIT)  # [B]
    plain_xyxy = take_rows(candidates.boxes_xyxy, kept)
    boxes_xyxy = jnp.where(merges[:, None, None], merged_xyxy, plain_xyxy)  # [B, D, 4]
    mask = mask & ((companions > 1) | ~merges[:, None])
    order = jnp.argsort(~mask, axis=1, stable=True)  # kept ones to the front, still by score
    return gather(
        boxes_xyxy, candidates, jnp.take_along_axis(kept, order, axis=1),
        jnp.take_along_axis(mask, order, axis=1), order,
    )  # fmt: skip


def _suppress(
    decoded: Decoded,
    score_threshold: Threshold,
    iou_threshold: Threshold,
    max_candidates: int,
    max_detections: int,
    allowed_classes: Bool[Array, " K"] | None,
    class_offset: float,
) -> Detections:
    """Greedy NMS among as few candidates as will do: the same result, in less time."""

    def among(most: int) -> tuple[Detections, Bool[Array, " B"]]:
        """The detections, and in which images more candidates would change nothing."""
        candidates = find_candidates(
            decoded, score_threshold, most, max_detections, allowed_classes, class_offset
        )
        kept, mask = keep_greedily(candidates, iou_threshold, max_detections)
        settled = (candidates.number <= most) | mask.all(axis=1)
        return gather(candidates.boxes_xyxy, candidates, kept, mask), settled

    found, settled = among(min(FEW, max_candidates))
    if max_candidates <= FEW:
        return found
    return jax.lax.cond(jnp.all(settled), lambda: found, lambda: among(max_candidates)[0])


def _merge(
    candidates: Candidates, kept: Int[Array, " D"], iou_threshold: Threshold
) -> tuple[Float[Array, "D 4"], Int[Array, " D"]]:
    """Score-weighted means for one image, and how many candidates each one is made of."""
    overlap = boxes.pairwise_iou(candidates.moved_xyxy[kept], candidates.moved_xyxy)  # [D, C]
    joins = (overlap > iou_threshold) & (candidates.scores > -jnp.inf)[None]
    weights = jnp.where(joins, candidates.scores[None], 0)
    total = weights.sum(axis=1, keepdims=True)
    # HIGHEST: by default TPUs multiply matrices in bfloat16, which moves boxes by pixels.
    sums = jnp.matmul(weights, candidates.boxes_xyxy, precision=jax.lax.Precision.HIGHEST)
    return sums / jnp.where(total > 0, total, 1), joins.sum(axis=1)
