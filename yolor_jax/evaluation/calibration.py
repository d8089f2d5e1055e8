"""Whether a score is the chance of being right: reliability by bin, and one number for all.

    calibrate(matches).expected_calibration_error   # 0 where 70 % of those with score 0.7 are right

References:
    C. Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 3.
"""

import dataclasses

import numpy as np

from yolor_jax.evaluation.matching import Matches

BINS = 15
LEAST_SCORE = 0.05
HISTOGRAM_BINS = 20


@dataclasses.dataclass(frozen=True)
class Bin:
    """The detections with a score from `lower` up to `upper`.

    Attributes:
        lower: end of the bin, inclusive.
        upper: end of the bin, exclusive (inclusive in the last one).
        count: how many detections.
        mean_score: of them; None where there are none.
        precision: the share of them that is matched at IoU 0.5; None where there are none.
    """

    lower: float
    upper: float
    count: int
    mean_score: float | None
    precision: float | None


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The reliability diagram.

    Attributes:
        least_score: detections below are left out.
        bins: 15 of equal width.
        expected_calibration_error: the mean over detections of |mean_score - precision| of their
            bins; None where there are no detections.
    """

    least_score: float
    bins: list[Bin]
    expected_calibration_error: float | None


@dataclasses.dataclass(frozen=True)
class ScoreHistogram:
    """How many detections have which score.

    Attributes:
        edges: [21] of 20 bins, 0..1.
        matched: [20] counts of the detections that are of an object, at IoU 0.5.
        unmatched: [20] counts of the others.
    """

    edges: list[float]
    matched: list[int]
    unmatched: list[int]


def calibrate(matches: Matches) -> Calibration:
    """The reliability of all classes together.

    Args:
        matches: at IoU 0.5.
    """
    used = matches.detections.score >= LEAST_SCORE
    score, right = matches.detections.score[used], matches.right[used]
    edges = np.arange(BINS + 1) / BINS
    number = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, BINS - 1)
    count = np.bincount(number, minlength=BINS)
    some = np.maximum(count, 1)
    mean_score = np.bincount(number, weights=score, minlength=BINS) / some
    precision = np.bincount(number, weights=right, minlength=BINS) / some
    error = float((count * np.abs(mean_score - precision)).sum() / max(len(score), 1))
    bins = [
        Bin(lower, upper, n, mean if n else None, share if n else None)
        for lower, upper, n, mean, share in zip(
            edges[:-1].tolist(), edges[1:].tolist(), count.tolist(),
            mean_score.tolist(), precision.tolist(), strict=True,
        )
    ]  # fmt: skip
    return Calibration(LEAST_SCORE, bins, error if len(score) else None)


def histogram_of_scores(matches: Matches) -> ScoreHistogram:
    """All detections by score.

    Args:
        matches: at IoU 0.5.
    """
    edges = np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_BINS

    def counts(which) -> list[int]:
        return np.histogram(matches.detections.score[which].clip(0, 1), edges)[0].tolist()

    return ScoreHistogram(edges.tolist(), counts(matches.right), counts(~matches.right))
