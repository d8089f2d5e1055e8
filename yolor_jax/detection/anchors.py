"""Anchor sizes for a data set: how well they fit, and how to find them.

The fit of a box and an anchor is min(w/aw, aw/w, h/ah, ah/h), 1 at best; the assignment matches
them if it exceeds 1 / ratio_threshold. NumPy on the host: this runs once per data set, over the
sizes (width, height) of all its boxes in pixels of the network input.

    anchors_wh = find_anchors(sizes_wh, 9, seed=0)       # [9, 2], small to large
    measure(sizes_wh, anchors_wh).best_possible_recall   # above 0.98 is good
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from yolor_jax.errors import InputError

MIN_SIZE = 2.0  # pixels; boxes smaller than this both ways are not looked at
RESTARTS = 8
MAX_ITERATIONS = 50
MUTATED = 0.5  # part of the sides that a generation changes
MUTATION = 0.1  # by about this factor


class Fit(NamedTuple):
    """How well anchors fit boxes.

    Attributes:
        best_possible_recall: part of the boxes that match at least one anchor.
        anchors_above_threshold: mean number of anchors a box matches.
        fitness: mean ratio of a box to its best anchor, counting 0 where that does not match.
    """

    best_possible_recall: float
    anchors_above_threshold: float
    fitness: float


def ratio_metric(
    sizes_wh: Float[np.ndarray, "N 2"], anchors_wh: Float[np.ndarray, "A 2"]
) -> Float[np.ndarray, "N A"]:
    """The larger of the two sides' disagreements, as a ratio between 0 and 1."""
    by_side = (sizes_wh[:, None, side] / anchors_wh[None, :, side] for side in (0, 1))
    return np.minimum(*(np.minimum(ratio, 1 / ratio) for ratio in by_side))


def measure(
    sizes_wh: Float[np.ndarray, "N 2"],
    anchors_wh: Float[np.ndarray, "A 2"],
    *,
    ratio_threshold: int | float = 4.0,
) -> Fit:
    """Best possible recall and other figures of anchors on a data set.

    Args:
        sizes_wh: [N, 2] positive (width, height) of all boxes, pixels of the network input.
        anchors_wh: [A, 2], of all levels together, same unit.
        ratio_threshold: as in the assignment.

    Returns:
        ``Fit``.
    """
    _check_sizes(sizes_wh, 1)
    best, matches = np.zeros(len(sizes_wh)), 0
    for anchor_wh in anchors_wh:  # one by one: [N, A] of a large data set would fill the memory
        ratio = ratio_metric(sizes_wh, anchor_wh[None])[:, 0]
        matches += np.count_nonzero(ratio > 1 / ratio_threshold)
        best = np.maximum(best, ratio)
    best = np.where(best > 1 / ratio_threshold, best, 0)
    return Fit(
        best_possible_recall=float((best > 0).mean()),
        anchors_above_threshold=float(matches / len(sizes_wh)),
        fitness=float(best.mean()),
    )


def find_anchors(
    sizes_wh: Float[np.ndarray, "N 2"],
    number: int,
    *,
    seed: int,
    generations: int = 1000,
    ratio_threshold: int | float = 4.0,
) -> Float[np.ndarray, "A 2"]:
    """Anchors for a data set: k-means on its box sizes, then evolution towards higher fitness.

    Args:
        sizes_wh: [N, 2] positive (width, height) of all boxes, pixels of the network input.
        number: A, how many to find, over all levels.
        seed: of all random choices; equal seeds give equal anchors.
        generations: of evolution; each costs one ``measure``.
        ratio_threshold: as in the assignment.

    Returns:
        float64 [A, 2], by ascending area.

    Raises:
        InputError: if there are fewer boxes than anchors, or sizes are not positive.
    """
    sizes_wh = np.asarray(sizes_wh, np.float64)
    _check_sizes(sizes_wh, 1)
    sizes_wh = sizes_wh[(sizes_wh >= MIN_SIZE).any(axis=1)]
    _check_sizes(sizes_wh, number)
    rng = np.random.default_rng(seed)
    deviation = sizes_wh.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)
    anchors_wh = k_means(sizes_wh / scale, number, rng) * scale
    anchors_wh = _evolve(sizes_wh, anchors_wh, rng, generations, ratio_threshold)
    return anchors_wh[np.argsort(anchors_wh.prod(axis=1), kind="stable")]


def k_means(
    points: Float[np.ndarray, "N D"], number: int, rng: np.random.Generator
) -> Float[np.ndarray, "k D"]:
    """The centres with the smallest mean squared distance, out of several starts (k-means++)."""
    results = [_lloyd(points, _spread_out(points, number, rng)) for _ in range(RESTARTS)]
    return min(results, key=lambda centres: _nearest(points, centres)[1].mean())


def _nearest(points, centres) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """The nearest centre of each point, and its squared distance."""
    squared = ((points[:, None] - centres[None]) ** 2).sum(axis=-1)  # [N, k]
    return squared.argmin(axis=1), squared.min(axis=1)


def _spread_out(points, number: int, rng: np.random.Generator) -> Float[np.ndarray, "k D"]:
    """Starting centres, each drawn with probability proportional to its squared distance."""
    centres = points[rng.integers(len(points))][None]
    for _ in range(number - 1):
        distance = _nearest(points, centres)[1]
        total = distance.sum()
        # Fewer distinct points than centres: any will do.
        chance = distance / total if total > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), p=chance)][None]])
    return centres


def _lloyd(points, centres: Float[np.ndarray, "k D"]) -> Float[np.ndarray, "k D"]:
    """Moves centres to the mean of their points until nothing moves."""
    for _ in range(MAX_ITERATIONS):
        owner, _ = _nearest(points, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, owner, points)
        number = np.bincount(owner, minlength=len(centres))[:, None]
        moved = np.where(number > 0, sums / np.maximum(number, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _evolve(
    sizes_wh, anchors_wh, rng: np.random.Generator, generations: int, ratio_threshold: int | float
) -> Float[np.ndarray, "A 2"]:
    """Random changes, each kept if it raises the fitness."""
    best = measure(sizes_wh, anchors_wh, ratio_threshold=ratio_threshold).fitness
    for _ in range(generations):
        chosen = rng.random(anchors_wh.shape) < MUTATED
        factor = np.exp(MUTATION * rng.random() * rng.standard_normal(anchors_wh.shape))
        child_wh = np.maximum(np.where(chosen, anchors_wh * factor, anchors_wh), MIN_SIZE)
        fitness = measure(sizes_wh, child_wh, ratio_threshold=ratio_threshold).fitness
        if fitness > best:
            best, anchors_wh = fitness, child_wh
    return anchors_wh


def _check_sizes(sizes_wh: Float[np.ndarray, "N 2"], at_least: int) -> None:
    if len(sizes_wh) < at_least:
        raise InputError(
            f"got {len(sizes_wh)} boxes, expected at least {at_least}: check the data set and its "
            f"split (boxes below {MIN_SIZE:g} pixels both ways do not count)"
        )
    if not (np.isfinite(sizes_wh).all() and (sizes_wh > 0).all()):
        raise InputError(
            "got sizes that are not finite and positive, expected (width, height) in pixels: "
            "leave out degenerate boxes"
        )
