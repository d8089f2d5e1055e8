"""Multi-label classification of images: which classes are in the picture.

    present = image_labels(batch.labels, batch.mask, num_classes)    # [B, K]
    loss = multi_label_loss(outputs.classify, present)

The labels follow from the targets of detection, so they are those of the augmented image.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int


def image_labels(
    labels: Int[Array, "B T"], mask: Bool[Array, "B T"], num_classes: int
) -> Float[Array, "B K"]:
    """K-hot labels of images: 1 for each class of which there is a target.

    Args:
        labels: of the targets, 0 .. K - 1.
        mask: true where there is a target; crowds count, they show their class too.
        num_classes: K.

    Returns:
        float32 ``[B, K]``, zeros and ones.
    """
    hot = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)  # [B, T, K]
    return jnp.where(mask[..., None], hot, 0).max(axis=1, initial=0)


def multi_label_loss(logits: Float[Array, "B K"], present: Float[Array, "B K"]) -> Float[Array, ""]:
    """Mean binary cross-entropy over images and classes, each class on its own.

    Args:
        logits: lower precisions are raised to float32.
        present: see `image_labels`.
    """
    return optax.sigmoid_binary_cross_entropy(logits.astype(jnp.float32), present).mean()
