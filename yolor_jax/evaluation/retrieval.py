"""Retrieval: whether an object of one image is known again on others, by its vector.

Every object is looked for among the objects of all other images, the most alike first. Objects are
as alike as the dot product of their vectors.

    recall1, mean_ap = retrieval(vectors, identity, image)      # [N, D], [N], [N]
    accepted = true_positive_rate(vectors, identity, image, far=0.1)

Both compare all pairs: of more than `MOST` objects, so many are taken, evenly spread.
"""

import numpy as np
from jaxtyping import Float, Int

from yolor_jax.evaluation.task_metrics import TIE, average_precision

MOST = 8192
AT_ONCE = 512


def retrieval(
    vectors: Float[np.ndarray, "N D"], identity: Int[np.ndarray, " N"], image: Int[np.ndarray, " N"]
) -> tuple[float | None, float | None]:
    """Recall@1 and mean average precision over the objects that other images show too.

    Args:
        vectors: of length 1.
        identity: whose they are.
        image: where they are; objects of the same image are no answers.

    Returns:
        The share of objects to which one of the same identity is nearest (a tie with another one
        is not found), and the mean of `average_precision`; None where no object returns.
    """
    vectors, identity, image = _evenly(vectors, identity, image)
    first, precisions = [], []
    for start in range(0, len(vectors), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        alike = vectors[rows] @ vectors.T  # [n, N]
        same = identity[rows, None] == identity
        others = image[rows, None] != image
        for scores, right, there in zip(alike, same, others, strict=True):
            if not (right & there).any():
                continue
            scores, right = scores[there], right[there]
            wrong = scores[~right].max(initial=-np.inf)
            first.append(scores[right].max() > wrong + TIE)
            precisions.append(average_precision(scores, right))
    if not first:
        return None, None
    return float(np.mean(first)), float(np.mean(precisions))


def true_positive_rate(
    vectors: Float[np.ndarray, "N D"],
    identity: Int[np.ndarray, " N"],
    image: Int[np.ndarray, " N"],
    *,
    far: float,
) -> float | None:
    """The share of pairs of one identity that are accepted where others seldom are.

    Args:
        vectors: of length 1.
        identity: whose they are.
        image: where they are; pairs within an image do not count.
        far: the share of pairs of different identities that may be accepted (false accept rate).

    Returns:
        Of the pairs of one identity those that are more alike than all but a share ``far`` of the
        other pairs; None where there is no pair of either kind.
    """
    vectors, identity, image = _evenly(vectors, identity, image)
    right, wrong = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    number = np.arange(len(vectors))
    for start in range(0, len(vectors), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        alike = vectors[rows] @ vectors.T  # [n, N]
        pair = (number[rows, None] < number) & (image[rows, None] != image)
        same = identity[rows, None] == identity
        right.append(alike[pair & same])
        wrong.append(alike[pair & ~same])
    accepted, refused = np.concatenate(right), np.concatenate(wrong)
    if not len(accepted) or not len(refused):
        return None
    allowed = int(far * len(refused))
    if allowed == len(refused):
        return 1.0
    threshold = -np.partition(-refused, allowed)[allowed]  # the first that is not accepted
    return float((accepted > threshold).mean())


def _evenly(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """`MOST` rows at most."""
    count = len(columns[0])
    if count <= MOST:
        return columns
    rows = np.arange(MOST) * count // MOST
    return tuple(column[rows] for column in columns)
