"""Test-time augmentation: an image is looked at in several sizes and mirrored, boxes of all views.

The three views of the original: as it is, at 0.83 of its size and mirrored, and at 0.67. A scaled
image is padded on the right and at the bottom with the mean colour of ImageNet, up to a multiple of
the largest stride. The boxes of all views, on the image as it is, enter NMS together.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.detection.decode import Decoded

PADDING = 0.447
"""Grey level 0..1 around a scaled image: the mean colour of ImageNet."""


class View(NamedTuple):
    """One look at an image.

    Attributes:
        scale: factor of both sides.
        mirrored: left and right are exchanged first.
    """

    scale: float
    mirrored: bool


AS_IT_IS = (View(1.0, mirrored=False),)
THREE_VIEWS = (*AS_IT_IS, View(0.83, mirrored=True), View(0.67, mirrored=False))


def decode_views(
    detect: Callable[[Float[Array, "B h w 3"]], Decoded],
    images: Float[Array, "B H W 3"],
    views: Sequence[View],
    *,
    stride: int,
) -> Decoded:
    """What a network sees in several views of each image.

    Args:
        detect: the network with its decoding.
        images: 0..1.
        views: of each image.
        stride: the largest one of the network, in pixels.

    Returns:
        The predictions of all views one after the other, in pixels of ``images``.
    """
    seen = [_of_image(detect(_seen(images, view, stride)), view, images.shape[2]) for view in views]
    return Decoded(*(jnp.concatenate(parts, axis=1) for parts in zip(*seen, strict=True)))


def _seen(images: Float[Array, "B H W 3"], view: View, stride: int) -> Float[Array, "B h w 3"]:
    """Images as a view shows them."""
    if view.mirrored:
        images = images[:, :, ::-1]
    if view.scale == 1:
        return images
    batch, height, width, _ = images.shape
    sides = int(height * view.scale), int(width * view.scale)
    scaled = jax.image.resize(images, (batch, *sides, 3), "bilinear", antialias=False)
    missing = [
        math.ceil(whole * view.scale / stride) * stride - side
        for whole, side in zip((height, width), sides, strict=True)
    ]
    rows, columns = ((0, count) for count in missing)
    return jnp.pad(scaled, ((0, 0), rows, columns, (0, 0)), constant_values=PADDING)


def _of_image(decoded: Decoded, view: View, width: int) -> Decoded:
    """Boxes in pixels of a view as boxes in pixels of the image, ``width`` pixels wide."""
    boxes_cxcywh = decoded.boxes_cxcywh / view.scale
    if view.mirrored:
        boxes_cxcywh = boxes_cxcywh.at[..., 0].set(width - boxes_cxcywh[..., 0])
    return decoded._replace(boxes_cxcywh=boxes_cxcywh)
