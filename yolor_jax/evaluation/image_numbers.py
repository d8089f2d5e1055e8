"""What was found in each image, the worst image first.

```python
image_numbers(ids, matches, 0.4)[0].image_id
```
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from yolor_jax.evaluation.matching import Matches


@dataclasses.dataclass(frozen=True)
class ImageNumbers:
    """What was found in an image at the operating point, IoU 0.5.

    Attributes:
        image_id: of the image.
        f1: 2 matched / (2 matched + missed + false).
        matched: how many objects were found.
        missed: how many were not.
        false: how many detections are of no object.
    """

    image_id: int
    f1: float
    matched: int
    missed: int
    false: int


def image_numbers(ids: Sequence[int], matches: Matches, score: float) -> list[ImageNumbers]:
    """The numbers of each image with objects, or detections of at least that score.

    Args:
        ids: of all images, rising.
        matches: at IoU 0.5.
        score: the operating point.

    Returns:
        The worst first: by F1, then those with more errors.
    """
    counts = matches.detections.score >= score
    detected = np.bincount(matches.detections.image[counts], minlength=len(ids))
    matched = np.bincount(matches.detections.image[counts & matches.right], minlength=len(ids))
    objects = np.bincount(matches.objects.image, minlength=len(ids))
    rows = [
        ImageNumbers(image_id, 2 * m / (n + d), matched=m, missed=n - m, false=d - m)
        for image_id, m, n, d in zip(
            ids, matched.tolist(), objects.tolist(), detected.tolist(), strict=True
        )
        if n + d
    ]
    return sorted(rows, key=lambda row: (row.f1, -row.missed - row.false))
