"""Embedding taught by identities: objects on any images of a batch that are one and the same.

Two losses on one vector for each object (`embedding.describe`). The one is cross-entropy of a
linear classifier over the identities of the training data (JDE, Wang et al., arXiv 1909.12605,
section 3.4), whose parameters no network needs afterwards. The other is the supervised contrastive
loss (Khosla et al., arXiv 2004.11362, equation 2) among all objects of the batch; it knows an
identity only while two of the batch share it, and has no parameters.

    loss = contrastive_loss(vectors, identity, temperature=0.1)
    loss = classification_loss(vectors, identity, kernel, bias)
"""

import math

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from yolor_jax.tasks.embedding import contrast


def contrastive_loss(
    vectors: Float[Array, "B T D"], identity: Int[Array, "B T"], *, temperature: float
) -> Float[Array, ""]:
    """The supervised contrastive loss among the objects of a batch that have an identity.

    Args:
        vectors: of the targets, of length 1.
        identity: of the targets; -1 for those that take no part.
        temperature: smaller ones weigh the hardest negatives more.

    Returns:
        Mean over the objects of which there is another one, and one of another identity; 0 if
        there are none.
    """
    number = identity.reshape(-1)  # [N]
    known = number >= 0
    same = number[:, None] == number[None]  # [N, N]
    pairs = known[:, None] & known[None] & ~jnp.eye(len(number), dtype=bool)
    flat = vectors.reshape(1, len(number), -1)
    return contrast(flat, (pairs & same)[None], (pairs & ~same)[None], temperature)


def classification_loss(
    vectors: Float[Array, "B T D"],
    identity: Int[Array, "B T"],
    kernel: Float[Array, "D I"],
    bias: Float[Array, " I"],
) -> Float[Array, ""]:
    """Cross-entropy over the I identities; vectors are stretched by sqrt(2) log(I - 1), as in JDE.

    Args:
        vectors: of the targets, of length 1.
        identity: of the targets; -1 for those that take no part.
        kernel: of the classifier.
        bias: of the classifier.

    Returns:
        Mean over the objects that have an identity; 0 if there are none.
    """
    known = identity >= 0
    stretch = max(math.sqrt(2) * math.log(max(len(bias) - 1, 1)), 1.0)
    logits = jnp.einsum("btd,di->bti", stretch * vectors, kernel) + bias[None, None]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, identity, 0))
    return jnp.where(known, each, 0).sum() / jnp.maximum(known.sum(), 1).astype(jnp.float32)
