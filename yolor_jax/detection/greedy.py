"""Which candidates of NMS stay: the best ones block by block, those behind one by one.

Taken by descending score, a candidate is kept unless its IoU with one kept before exceeds a
threshold t:

    keep_i = alive_i and not any(keep_j and IoU_ij > t for j < i)                               (1)

Among the best, where most of what is kept lies, `BLOCK` candidates are settled at once. What
overlaps one that was kept before the block goes first; then (1) is applied to the block until
nothing changes. Each application settles one more candidate at least, because it depends on those
before it alone, and chains of boxes that suppress each other are short.

Behind `BEST` candidates most are suppressed, and what costs is to go over them: there each turn of
the loop keeps one and strikes out all that it suppresses. Both loops end when no image has more or
room for more.

    kept, mask = keep_greedily(candidates, 0.45, 300)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.candidates import Candidates, Threshold, take_rows

BLOCK = 256
BEST = 512
"""Candidates of an image that are settled by blocks."""


def keep_greedily(
    candidates: Candidates, iou_threshold: Threshold, max_detections: int
) -> tuple[Int[Array, "B D"], Bool[Array, "B D"]]:
    """Positions of the kept candidates in order, and which of them are real.

    One loop for the batch rather than a vmap of loops, which would run as often and select between
    the old and the new state of every image each time.

    Args:
        candidates: by descending score.
        iou_threshold: t.
        max_detections: D.
    """
    alive = candidates.scores > -jnp.inf  # [B, C]
    moved_xyxy = candidates.moved_xyxy
    kept, full = _by_blocks(moved_xyxy[:, :BEST], alive[:, :BEST], iou_threshold, max_detections)
    if alive.shape[1] <= BEST:
        return kept, full
    behind = alive & (jnp.arange(alive.shape[1])[None] >= BEST)
    return _one_by_one(moved_xyxy, behind, kept, full, iou_threshold)


def _by_blocks(
    moved_xyxy: Float[Array, "B C 4"],
    alive: Bool[Array, "B C"],
    iou_threshold: Threshold,
    max_detections: int,
) -> tuple[Int[Array, "B D"], Bool[Array, "B D"]]:
    """What stays of all candidates, a block in each turn."""
    number = alive.shape[1]
    block = min(BLOCK, number)
    padding = [(0, 0), (0, -number % block)]
    moved_xyxy = jnp.pad(moved_xyxy, [*padding, (0, 0)])
    alive = jnp.pad(alive, padding)
    slots = jnp.arange(max_detections)[None, :, None]

    def unfinished(state):
        start, _, full = state
        ahead = jnp.arange(alive.shape[1])[None] >= start
        return jnp.any(jnp.any(alive & ahead, axis=1) & ~full[:, -1])

    def settle_block(state):
        start, kept, full = state
        boxes_xyxy = jax.lax.dynamic_slice_in_dim(moved_xyxy, start, block, axis=1)
        free = jax.lax.dynamic_slice_in_dim(alive, start, block, axis=1)
        before = _suppresses(take_rows(moved_xyxy, kept), boxes_xyxy, iou_threshold)  # [B, D, S]
        free &= ~jnp.any(before & full[..., None], axis=1)
        keep = _fixed_point(free, _suppresses(boxes_xyxy, boxes_xyxy, iou_threshold))
        slot = full.sum(axis=1, keepdims=True) + jnp.cumsum(keep, axis=1) - 1  # [B, S]
        fills = keep[:, None] & (slot[:, None] == slots)  # [B, D, S]
        position = start + jnp.arange(block, dtype=jnp.int32)[None, None]
        kept = jnp.maximum(kept, jnp.where(fills, position, 0).max(axis=2))
        return start + block, kept, full | fills.any(axis=2)

    # zeros_like, not zeros: inside shard_map a loop's start must vary over devices as its result.
    nothing = jnp.zeros_like(alive, shape=(alive.shape[0], max_detections))
    first = jnp.int32(0), nothing.astype(jnp.int32), nothing
    _, kept, full = jax.lax.while_loop(unfinished, settle_block, first)
    return kept, full


def _one_by_one(
    moved_xyxy: Float[Array, "B C 4"],
    alive: Bool[Array, "B C"],
    kept: Int[Array, "B D"],
    full: Bool[Array, "B D"],
    iou_threshold: Threshold,
) -> tuple[Int[Array, "B D"], Bool[Array, "B D"]]:
    """What stays beside those that were kept before, which suppress first; one in each turn."""
    positions = jnp.arange(alive.shape[1])[None]

    def unfinished(state):
        _, alive, _, full = state
        return jnp.any(jnp.any(alive, axis=1) & ~full[:, -1])

    def keep_best(state):
        slot, alive, kept, full = state
        before, found = full[:, slot], jnp.any(alive, axis=1)
        best = jnp.where(before, kept[:, slot], jnp.argmax(alive, axis=1).astype(jnp.int32))
        suppressed = _suppresses(take_rows(moved_xyxy, best[:, None]), moved_xyxy, iou_threshold)
        # By its position: the IoU of an empty box with itself is 0, so that it would stay alive.
        alive &= ~suppressed[:, 0] & (positions != best[:, None])
        kept = kept.at[:, slot].set(jnp.where(before | found, best, 0))
        return slot + 1, alive, kept, full.at[:, slot].set(before | found)

    return jax.lax.while_loop(unfinished, keep_best, (jnp.int32(0), alive, kept, full))[2:]


def _suppresses(
    kept_xyxy: Float[Array, "B N 4"], others_xyxy: Float[Array, "B M 4"], iou_threshold: Threshold
) -> Bool[Array, "B N M"]:
    """Whether a box that is kept suppresses another."""
    return jax.vmap(boxes.pairwise_iou)(kept_xyxy, others_xyxy) > iou_threshold


def _fixed_point(free: Bool[Array, "B S"], suppresses: Bool[Array, "B S S"]) -> Bool[Array, "B S"]:
    """Equation (1) for the candidates of a block that are free when it begins."""
    earlier = jnp.triu(suppresses, 1)

    def settle(state):
        keep, _ = state
        again = free & ~jnp.any(earlier & keep[..., None], axis=1)
        return again, jnp.any(again != keep)

    return jax.lax.while_loop(lambda state: state[1], settle, settle((free, True)))[0]
