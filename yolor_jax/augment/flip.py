"""Mirror images on the device: the whole canvas, padding included, and its boxes.

    image, boxes_xyxy = flip_horizontally(image, boxes_xyxy, mask)

Padded targets stay zero.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, UInt8


def flip_horizontally(
    image: UInt8[Array, "H W 3"], boxes_xyxy: Float32[Array, "T 4"], mask: Bool[Array, " T"]
) -> tuple[UInt8[Array, "H W 3"], Float32[Array, "T 4"]]:
    """Mirrors left to right.

    Args:
        image: The canvas.
        boxes_xyxy: Targets in its pixels.
        mask: Which of them are targets.

    Returns:
        The mirrored image and boxes.
    """
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)  # [T] each
    width = image.shape[1]
    mirrored = jnp.stack([width - right, top, width - left, bottom], axis=-1)  # [T, 4]
    return image[:, ::-1], jnp.where(mask[:, None], mirrored, 0.0)


def flip_vertically(
    image: UInt8[Array, "H W 3"], boxes_xyxy: Float32[Array, "T 4"], mask: Bool[Array, " T"]
) -> tuple[UInt8[Array, "H W 3"], Float32[Array, "T 4"]]:
    """Mirrors top to bottom; arguments and result as in `flip_horizontally`."""
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)  # [T] each
    height = image.shape[0]
    mirrored = jnp.stack([left, height - bottom, right, height - top], axis=-1)  # [T, 4]
    return image[::-1], jnp.where(mask[:, None], mirrored, 0.0)
