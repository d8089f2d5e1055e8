"""Whether a score is the chance of being right: reliability by bin, and one number for all."""

import dataclasses


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
