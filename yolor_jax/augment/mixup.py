"""Mixup: two images on top of each other, with the targets of both (arXiv 1710.09412).

    ratio = draw_ratio(key)
    image = mix(image, other, ratio)

The ratio comes from a beta(8, 8) distribution: mostly near one half.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, PRNGKeyArray, UInt8


def draw_ratio(key: PRNGKeyArray) -> Float32[Array, ""]:
    """From beta(8, 8): the distribution of the median of 15 uniform numbers."""
    return jnp.sort(jax.random.uniform(key, (15,), jnp.float32))[7]


def mix(
    image: UInt8[Array, "H W 3"], other: UInt8[Array, "H W 3"], ratio: Float32[Array, ""]
) -> UInt8[Array, "H W 3"]:
    """Ratio * image + (1 - ratio) * other, rounded."""
    image, other = image.astype(jnp.float32), other.astype(jnp.float32)
    return jnp.round(other + ratio * (image - other)).astype(jnp.uint8)
