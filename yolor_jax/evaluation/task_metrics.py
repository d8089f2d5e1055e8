"""The metrics of the tasks beyond detection: mean average precision, and rank-1 of retrieval.

```python
mean_average_precision(scores, present)     # scores [N, K], present [N, K] bool -> 0..1
found, asked = rank1(vectors, mirrored)     # of the objects of one image, [n, D] each
```
"""

import numpy as np
from jaxtyping import Bool, Float

TIE = 1e-6
"""Similarities that differ by less are equal: a dot product in float32 is no more exact. Objects
that share their cells on all levels have one and the same vector."""


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


def rank1(queries: Float[np.ndarray, "n D"], gallery: Float[np.ndarray, "n D"]) -> tuple[int, int]:
    """How many queries are nearer to their own object than to any other, by the dot product.

    Args:
        queries: vectors of the objects of an image, of length 1.
        gallery: of the same objects, in the same order, in another view of it.

    Returns:
        How many were found, and how many were asked for: none where there are fewer than two
        objects, because nothing could be mistaken. A tie is not found.
    """
    if len(queries) < 2:
        return 0, 0
    similarity = queries @ gallery.T  # [n, n]
    own = np.diag(similarity).copy()
    np.fill_diagonal(similarity, -np.inf)
    return int((own > similarity.max(axis=1) + TIE).sum()), len(queries)
