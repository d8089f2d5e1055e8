"""Mean average precision of multi-label classification.

mean_average_precision(scores, present)     # scores [N, K], present [N, K] bool -> 0..1
"""

import numpy as np
from jaxtyping import Bool, Float


def average_precision(scores: Float[np.ndarray, " N"], present: Bool[np.ndarray, " N"]) -> float:
    """The sum over thresholds of precision times the recall that is gained there.

    Images of equal score enter together, so that their order does not matter.

    Args:
        scores: of the images, higher for more likely.
        present: true where the class is in the image; somewhere it must be.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(present[order])[last_of_equals]
    precision = found / (np.flatnonzero(last_of_equals) + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])


def mean_average_precision(
    scores: Float[np.ndarray, "N K"], present: Bool[np.ndarray, "N K"]
) -> float | None:
    """The mean of `average_precision` over the classes that are in any image.

    Returns:
        0..1; None where no image shows any class.
    """
    classes = np.flatnonzero(present.any(axis=0))
    if not len(classes):
        return None
    return float(np.mean([average_precision(scores[:, k], present[:, k]) for k in classes]))
