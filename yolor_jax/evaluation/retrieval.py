"""Instance retrieval: whether an embedding is nearest to that of the same object elsewhere.

found, asked = rank1(vectors, mirrored)     # of the objects of one image, [n, D] each
"""

import numpy as np
from jaxtyping import Float

TIE = 1e-6
"""Similarities that differ by less are equal: a dot product in float32 is no more exact. Objects
that share their cells on all levels have one and the same vector."""


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
