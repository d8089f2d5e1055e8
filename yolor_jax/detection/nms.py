"""Non-maximum suppression (NMS) with static shapes: a batch at once, under jit, on any device.

Every (prediction, class) pair whose score = objectness x probability exceeds the threshold is a
candidate. Taken by descending score, a candidate is kept unless its IoU with one kept before
exceeds the IoU threshold. Suppression is per class, by moving each class 4096 pixels further
along both axes, in float32 as YOLOR does it (for high classes that rounds to 1/32 pixel, which
can decide). Nothing waits on a clock: the same input gives the same boxes on any machine.

Only the ``max_candidates`` best candidates are looked at; what lies below is dropped silently.
Ties go to the lower index (prediction first, then class). Where no image of a batch has more than
``FEW``, the search is among so many: the same boxes, in less time.

    detections = non_max_suppression(
        decoded, score_threshold=0.25, iou_threshold=0.45, max_candidates=4096
    )

A batch that is sharded over devices goes through ``jax.shard_map`` with the batch axis: each device
then works on its images alone. Under plain ``jit`` the result is the same, but XLA gathers all
scores on every device for ``top_k``, and the devices wait for each other in every step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.decode import Decoded
from yolor_jax.errors import InputError

CLASS_OFFSET = 4096.0  # pixels; larger than any network input
FEW = 256  # candidates of every image of a batch, so that looking at more would be in vain
MERGE_LIMIT = 3000  # from this many candidates on, YOLOR does not merge

Threshold = int | float | Float[Array, ""]


class Detections(NamedTuple):
    """A fixed number of boxes per image, by descending score; zeros where masked out.

    Attributes:
        boxes_xyxy: float32 [B, D, 4], in the unit of the input, not clipped.
        scores: float32 [B, D], objectness x class probability.
        labels: int32 [B, D].
        mask: bool [B, D], true where there is a detection; the true ones come first.
    """

    boxes_xyxy: Float[Array, "B D 4"]
    scores: Float[Array, "B D"]
    labels: Int[Array, "B D"]
    mask: Bool[Array, "B D"]


class _Candidates(NamedTuple):
    """The C best candidates of each image, by descending score; those at -inf are padding."""

    boxes_xyxy: Float[Array, "B C 4"]
    moved_xyxy: Float[Array, "B C 4"]  # what is compared: boxes with their class offset
    scores: Float[Array, "B C"]
    labels: Int[Array, "B C"]
    number: Int[Array, " B"]  # above the threshold, including those beyond max_candidates


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

    Time is O(max_detections x max_candidates) per image and ends early once no image has
    candidates left.

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
    candidates = _candidates(
        decoded, score_threshold, max_candidates, max_detections, allowed_classes, CLASS_OFFSET
    )
    kept, mask = _greedy(candidates, iou_threshold, max_detections)
    merged_xyxy, companions = jax.vmap(_merge, in_axes=(0, 0, None))(
        candidates, kept, iou_threshold
    )
    merges = (candidates.number > 1) & (candidates.number < MERGE_LIMIT)  # [B]
    plain_xyxy = _rows(candidates.boxes_xyxy, kept)
    boxes_xyxy = jnp.where(merges[:, None, None], merged_xyxy, plain_xyxy)  # [B, D, 4]
    mask = mask & ((companions > 1) | ~merges[:, None])
    order = jnp.argsort(~mask, axis=1, stable=True)  # kept ones to the front, still by score
    return _detections(
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
    """Greedy NMS among as few candidates as there are: the same result, in less time."""

    def among(most: int) -> Detections:
        candidates = _candidates(
            decoded, score_threshold, most, max_detections, allowed_classes, class_offset
        )
        kept, mask = _greedy(candidates, iou_threshold, max_detections)
        return _detections(candidates.boxes_xyxy, candidates, kept, mask)

    if max_candidates <= FEW:
        return among(max_candidates)
    # Classes that are not allowed count too, which may only choose the longer search.
    everything = jnp.ones(decoded.probabilities.shape[-1], bool)
    scores = jax.vmap(_scores, in_axes=(0, None, None))(decoded, score_threshold, everything)
    number = jnp.sum(scores > -jnp.inf, axis=(1, 2))  # [B]
    return jax.lax.cond(jnp.all(number <= FEW), lambda: among(FEW), lambda: among(max_candidates))


def _candidates(
    decoded: Decoded,
    score_threshold: Threshold,
    max_candidates: int,
    max_detections: int,
    allowed_classes: Bool[Array, " K"] | None,
    class_offset: float,
) -> _Candidates:
    if max_candidates < 1 or max_detections < 1:
        raise InputError(
            f"got max_candidates={max_candidates} and max_detections={max_detections}; "
            "expected both to be at least 1"
        )
    num_predictions, num_classes = decoded.probabilities.shape[1:]
    if num_predictions < 1 or num_classes < 1:
        raise InputError(
            f"got {num_predictions} predictions of {num_classes} classes, expected at least one "
            "of each: check the shapes of the network's outputs"
        )
    if allowed_classes is None:
        allowed_classes = jnp.ones(num_classes, bool)
    if allowed_classes.shape != (num_classes,):
        raise InputError(
            f"got allowed_classes of shape {allowed_classes.shape}, expected ({num_classes},): "
            "one bool per class"
        )
    of_image = functools.partial(
        _image_candidates, max_candidates=max_candidates, class_offset=class_offset
    )
    return jax.vmap(of_image, in_axes=(0, None, None))(decoded, score_threshold, allowed_classes)


def _image_candidates(
    decoded: Decoded,
    score_threshold: Threshold,
    allowed_classes: Bool[Array, " K"],
    *,
    max_candidates: int,
    class_offset: float,
) -> _Candidates:
    """The best candidates of one image.

    The best C of N x K scores lie on the C predictions with the highest best score, so a first
    selection by N scores leaves C x K for the second, which is far less than N x K to sort.
    """
    num_predictions, num_classes = decoded.probabilities.shape
    scores = _scores(decoded, score_threshold, allowed_classes)  # [N, K]
    _, rows = jax.lax.top_k(scores.max(axis=1), min(max_candidates, num_predictions))  # [R]
    rows = jnp.sort(rows)  # by index, so that top_k below settles ties as the docstring says
    flat = scores[rows].reshape(-1)  # [R * K]
    best, where = jax.lax.top_k(flat, min(max_candidates, flat.size))  # [C]
    labels = where % num_classes
    # Converted behind the selection: C boxes, not N.
    boxes_xyxy = boxes.cxcywh_to_xyxy(
        decoded.boxes_cxcywh[rows[where // num_classes]].astype(jnp.float32)
    )
    return _Candidates(
        boxes_xyxy=boxes_xyxy,
        moved_xyxy=boxes_xyxy + class_offset * labels.astype(jnp.float32)[:, None],
        scores=best,
        labels=labels,
        number=jnp.sum(scores > -jnp.inf),
    )


def _scores(
    decoded: Decoded, score_threshold: Threshold, allowed_classes: Bool[Array, " K"]
) -> Float[Array, "N K"]:
    """Objectness x probability, -inf for what is no candidate (and for NaN)."""
    objectness = decoded.objectness.astype(jnp.float32)[:, None]
    scores = objectness * decoded.probabilities.astype(jnp.float32)
    # "Exceeds", not "is not below": NaN compares false, so that it never becomes a box.
    candidate = (objectness > score_threshold) & (scores > score_threshold)
    return jnp.where(candidate & allowed_classes[None], scores, -jnp.inf)


def _greedy(
    candidates: _Candidates, iou_threshold: Threshold, max_detections: int
) -> tuple[Int[Array, "B D"], Bool[Array, "B D"]]:
    """Positions of the kept candidates in order, and which of them are real.

    One loop for the batch rather than a vmap of loops, which would run as often and select between
    the old and the new state of every image each time.
    """
    alive = candidates.scores > -jnp.inf  # [B, C]
    shape = (alive.shape[0], max_detections)

    def unfinished(state):
        step, alive, _, _ = state
        return (step < max_detections) & jnp.any(alive)

    def keep_best(state):
        step, alive, kept, mask = state
        best = jnp.argmax(alive, axis=1)  # the first one alive has the highest score
        found = jnp.any(alive, axis=1)
        box_xyxy = _rows(candidates.moved_xyxy, best[:, None])  # [B, 1, 4]
        overlap = jax.vmap(boxes.pairwise_iou)(box_xyxy, candidates.moved_xyxy)[:, 0]  # [B, C]
        # By its position: the IoU of an empty box with itself is 0, so that it would stay alive.
        is_best = jnp.arange(alive.shape[1])[None] == best[:, None]
        alive = alive & (overlap <= iou_threshold) & ~is_best
        kept = kept.at[:, step].set(best.astype(jnp.int32))
        return step + 1, alive, kept, mask.at[:, step].set(found)

    # zeros_like, not zeros: inside shard_map a loop's start must vary over devices as its result.
    nothing = jnp.zeros_like(alive, shape=shape)
    start = (jnp.int32(0), alive, nothing.astype(jnp.int32), nothing)
    _, _, kept, mask = jax.lax.while_loop(unfinished, keep_best, start)
    return kept, mask


def _merge(
    candidates: _Candidates, kept: Int[Array, " D"], iou_threshold: Threshold
) -> tuple[Float[Array, "D 4"], Int[Array, " D"]]:
    """Score-weighted means for one image, and how many candidates each one is made of."""
    overlap = boxes.pairwise_iou(candidates.moved_xyxy[kept], candidates.moved_xyxy)  # [D, C]
    joins = (overlap > iou_threshold) & (candidates.scores > -jnp.inf)[None]
    weights = jnp.where(joins, candidates.scores[None], 0)
    total = weights.sum(axis=1, keepdims=True)
    # HIGHEST: by default TPUs multiply matrices in bfloat16, which moves boxes by pixels.
    sums = jnp.matmul(weights, candidates.boxes_xyxy, precision=jax.lax.Precision.HIGHEST)
    return sums / jnp.where(total > 0, total, 1), joins.sum(axis=1)


def _rows(values: Array, index: Int[Array, "B D"]) -> Array:
    """``values[b, index[b]]`` for every image b."""
    return jax.vmap(lambda image, rows: image[rows])(values, index)


def _detections(
    boxes_xyxy: Float[Array, "B _ 4"],
    candidates: _Candidates,
    kept: Int[Array, "B D"],
    mask: Bool[Array, "B D"],
    box_rows: Int[Array, "B D"] | None = None,
) -> Detections:
    """Gathers the result: scores and labels by ``kept``, boxes by ``box_rows`` if they differ."""
    box_rows = kept if box_rows is None else box_rows
    return Detections(
        boxes_xyxy=jnp.where(mask[..., None], _rows(boxes_xyxy, box_rows), 0),
        scores=jnp.where(mask, _rows(candidates.scores, kept), 0),
        labels=jnp.where(mask, _rows(candidates.labels, kept), 0),
        mask=mask,
    )
