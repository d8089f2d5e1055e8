"""The candidates of NMS: static shapes, a batch at once.

A candidate is a (prediction, class) pair whose score exceeds the threshold. Only the best of an
image are looked at, by descending score; ties go to the lower index (prediction first, then class).

    candidates = find_candidates(decoded, 0.25, 4096, 300, None, class_offset=4096.0)
    kept, mask = keep_greedily(candidates, 0.45, 300)    # detection.greedy
    detections = gather(candidates.boxes_xyxy, candidates, kept, mask)
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.decode import Decoded
from yolor_jax.errors import InputError

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


class Candidates(NamedTuple):
    """The C best candidates of each image, by descending score; those at -inf are padding."""

    boxes_xyxy: Float[Array, "B C 4"]
    moved_xyxy: Float[Array, "B C 4"]  # what is compared: boxes with their class offset
    scores: Float[Array, "B C"]
    labels: Int[Array, "B C"]
    number: Int[Array, " B"]  # above the threshold, including those beyond max_candidates


def find_candidates(
    decoded: Decoded,
    score_threshold: Threshold,
    max_candidates: int,
    max_detections: int,
    allowed_classes: Bool[Array, " K"] | None,
    class_offset: float,
) -> Candidates:
    """The best candidates of each image.

    Args:
        decoded: predictions of a batch.
        score_threshold: objectness and score must both exceed it.
        max_candidates: C at most.
        max_detections: D, which is only looked at.
        allowed_classes: bool [K]; None for all.
        class_offset: pixels by which the boxes of each class are moved further than those of the
            one before, where they are compared.

    Raises:
        InputError: if a number or a size of ``decoded`` is below 1, or ``allowed_classes`` has
            another shape.
    """
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
) -> Candidates:
    """The best candidates of one image.

    The best C of N x K scores lie on the C predictions with the highest best score, so a first
    selection by N scores leaves C x K for the second, which is far less than N x K to sort.
    """
    num_predictions, num_classes = decoded.probabilities.shape
    scores = scores_of(decoded, score_threshold, allowed_classes)  # [N, K]
    _, rows = jax.lax.top_k(scores.max(axis=1), min(max_candidates, num_predictions))  # [R]
    rows = jnp.sort(rows)  # by index, so that top_k below settles ties as the docstring says
    flat = scores[rows].reshape(-1)  # [R * K]
    best, where = jax.lax.top_k(flat, min(max_candidates, flat.size))  # [C]
    labels = where % num_classes
    # Converted behind the selection: C boxes, not N.
    boxes_xyxy = boxes.cxcywh_to_xyxy(
        decoded.boxes_cxcywh[rows[where // num_classes]].astype(jnp.float32)
    )
    return Candidates(
        boxes_xyxy=boxes_xyxy,
        moved_xyxy=boxes_xyxy + class_offset * labels.astype(jnp.float32)[:, None],
        scores=best,
        labels=labels,
        number=jnp.sum(scores > -jnp.inf),
    )


def scores_of(
    decoded: Decoded, score_threshold: Threshold, allowed_classes: Bool[Array, " K"]
) -> Float[Array, "N K"]:
    """Objectness x probability, -inf for what is no candidate (and for NaN)."""
    objectness = decoded.objectness.astype(jnp.float32)[:, None]
    scores = objectness * decoded.probabilities.astype(jnp.float32)
    # "Exceeds", not "is not below": NaN compares false, so that it never becomes a box.
    candidate = (objectness > score_threshold) & (scores > score_threshold)
    return jnp.where(candidate & allowed_classes[None], scores, -jnp.inf)


def take_rows(values: Array, index: Int[Array, "B D"]) -> Array:
    """``values[b, index[b]]`` for every image b."""
    return jax.vmap(lambda image, rows: image[rows])(values, index)


def gather(
    boxes_xyxy: Float[Array, "B _ 4"],
    candidates: Candidates,
    kept: Int[Array, "B D"],
    mask: Bool[Array, "B D"],
    box_rows: Int[Array, "B D"] | None = None,
) -> Detections:
    """Gathers the result: scores and labels by ``kept``, boxes by ``box_rows`` if they differ."""
    box_rows = kept if box_rows is None else box_rows
    return Detections(
        boxes_xyxy=jnp.where(mask[..., None], take_rows(boxes_xyxy, box_rows), 0),
        scores=jnp.where(mask, take_rows(candidates.scores, kept), 0),
        labels=jnp.where(mask, take_rows(candidates.labels, kept), 0),
        mask=mask,
    )
