"""Precision, recall and F1 of the detections of at least a score, by class, at IoU 0.5.

```python
curves = score_curves(matches, SCORES, classes=80)
best = SCORES[np.argmax(curves.mean_f1)]    # the operating point
```
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from yolor_jax.evaluation.matching import Matches

SCORES = np.arange(101) / 100


class ScoreCurves(NamedTuple):
    """By class and threshold.

    Attributes:
        objects: how many each class has.
        precision: NaN where there are no detections of such a score.
        recall: NaN for a class without objects.
        f1: 2 TP / (2 TP + FP + FN); NaN for a class without objects.
    """

    objects: Int[np.ndarray, " K"]
    precision: Float[np.ndarray, "K S"]
    recall: Float[np.ndarray, "K S"]
    f1: Float[np.ndarray, "K S"]

    @property
    def mean_f1(self) -> Float[np.ndarray, " S"]:
        """Over the classes with objects; 0 where none has any."""
        present = self.objects > 0
        return self.f1[present].mean(axis=0) if present.any() else np.zeros(self.f1.shape[1])


def score_curves(matches: Matches, scores: Float[np.ndarray, " S"], classes: int) -> ScoreCurves:
    """The curves at these thresholds.

    Args:
        matches: at IoU 0.5.
        scores: rising.
        classes: K.
    """
    detections, right = matches.detections, matches.right
    objects = np.bincount(matches.objects.label, minlength=classes)

    def at_least(which) -> Int[np.ndarray, "K S"]:
        """How many of these detections each class has of at least each score."""
        passed = np.searchsorted(scores, detections.score[which], side="right")  # thresholds
        counts = np.zeros((classes, len(scores) + 1), np.int64)
        np.add.at(counts, (detections.label[which], passed), 1)
        return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, 1:]

    detected, true = at_least(np.ones_like(right)), at_least(right)
    with np.errstate(invalid="ignore"):
        precision = true / detected
        recall = true / objects[:, None]
        f1 = np.where(objects[:, None] > 0, 2 * true / (detected + objects[:, None]), np.nan)
    return ScoreCurves(objects, precision, recall, f1)
