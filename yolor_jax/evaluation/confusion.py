"""Which class is taken for which, and for background.

The matches of `matching.match` fill the diagonal, so that it agrees with precision and recall. Of
what they leave over, by falling score, each detection takes the free object of *another* class with
the highest IoU, if that is 0.5 or more. The rest is missed, or found in the background.
"""

import numpy as np
from jaxtyping import Int

from yolor_jax.evaluation.matching import IOU, Matches, greedy


def confusion(
    matches: Matches, score: float, classes: int
) -> Int[np.ndarray, "{classes+1} {classes+1}"]:
    """Counts of objects and detections of at least that score.

    Args:
        matches: at IoU 0.5.
        score: the operating point.
        classes: K.

    Returns:
        [K + 1, K + 1]: rows are true classes, columns predicted ones, the last of each is
        background. A row sums to the objects of a class, a column to its detections.
    """
    objects, detections, pairs = matches.objects, matches.detections, matches.pairs
    counts = detections.score >= score
    own = np.where(counts, matches.object_of, -1)
    free = np.ones(len(objects.label), bool)
    free[own[own >= 0]] = False
    left = counts & (own < 0)

    # An object of the detection's own class that is free here has an IoU below 0.5 with it.
    kept = (pairs.iou >= IOU) & left[pairs.detection] & free[pairs.object]
    other = greedy(pairs.where(kept), len(own), np.zeros(len(free), bool))
    object_of = np.where(own >= 0, own, other)
    free[other[other >= 0]] = False

    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    true = np.append(objects.label, classes)[object_of[counts]]
    np.add.at(matrix, (true, detections.label[counts]), 1)
    np.add.at(matrix, (objects.label[free], classes), 1)
    return matrix
