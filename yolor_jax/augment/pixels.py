"""What changes the pixels of one finished image: mixup, HSV jitter, mirror images.

    image = mix(image, other, draw_ratio(key))
    image, boxes_xyxy = flip_horizontally(image, boxes_xyxy, mask)
    image = scale_hsv(image, jnp.float32([1.01, 0.7, 1.2]))

Mixup lays two images on top of each other and keeps the targets of both (arXiv 1710.09412); the
ratio comes from a beta(8, 8) distribution, mostly near one half.

HSV jitter is the original's 8-bit rule: RGB -> HSV with hue 0 .. 179, saturation and value
0 .. 255, all rounded to integers as OpenCV does; each channel times its factor, cut to an integer
(hue modulo 180, the others clipped at 255); and back.

Flips mirror the whole canvas, padding included, and its boxes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, PRNGKeyArray, UInt8

_FIXED_POINT = 12  # bits of fraction in OpenCV's 8-bit conversion


def draw_ratio(key: PRNGKeyArray) -> Float32[Array, ""]:
    """A ratio from beta(8, 8): how much of the first image a mixture holds.

    Args:
        key: of the image.
    """
    # The median of 15 uniform numbers has this distribution; JAX's own sampler for beta rejects in
    # a loop, which under vmap runs until the unluckiest image of the batch is done.
    return jnp.sort(jax.random.uniform(key, (15,), jnp.float32))[7]


def mix(
    image: UInt8[Array, "H W 3"], other: UInt8[Array, "H W 3"], ratio: Float32[Array, ""]
) -> UInt8[Array, "H W 3"]:
    """Two images on top of each other: ``ratio * image + (1 - ratio) * other``, rounded.

    Args:
        image: RGB.
        other: RGB.
        ratio: 0 .. 1.
    """
    image, other = image.astype(jnp.float32), other.astype(jnp.float32)
    return jnp.round(other + ratio * (image - other)).astype(jnp.uint8)


def flip_horizontally(
    image: UInt8[Array, "H W 3"], boxes_xyxy: Float32[Array, "T 4"], mask: Bool[Array, " T"]
) -> tuple[UInt8[Array, "H W 3"], Float32[Array, "T 4"]]:
    """Mirrors left to right.

    Args:
        image: the canvas.
        boxes_xyxy: targets in its pixels.
        mask: which of them are targets; the others are padding.

    Returns:
        The mirrored image and boxes; padded targets are zero.
    """
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)  # [T] each
    width = image.shape[1]
    mirrored = jnp.stack([width - right, top, width - left, bottom], axis=-1)  # [T, 4]
    # A padded target is zero, and its mirror image would not be.
    return image[:, ::-1], jnp.where(mask[:, None], mirrored, 0.0)


def flip_vertically(
    image: UInt8[Array, "H W 3"], boxes_xyxy: Float32[Array, "T 4"], mask: Bool[Array, " T"]
) -> tuple[UInt8[Array, "H W 3"], Float32[Array, "T 4"]]:
    """Mirrors top to bottom; arguments and result as in `flip_horizontally`."""
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)  # [T] each
    height = image.shape[0]
    mirrored = jnp.stack([left, height - bottom, right, height - top], axis=-1)  # [T, 4]
    return image[::-1], jnp.where(mask[:, None], mirrored, 0.0)


def scale_hsv(image: UInt8[Array, "H W 3"], factors: Float32[Array, "3"]) -> UInt8[Array, "H W 3"]:
    """Multiplies hue, saturation and value by one factor each, in OpenCV's 8-bit colour space.

    Args:
        image: RGB.
        factors: of hue, saturation and value, 0 .. 2.

    Returns:
        RGB; within one grey level of OpenCV, which rounds the way back at the right border of an
        image and truncates elsewhere. Here it is rounded everywhere.
    """
    hue, saturation, value = _rgb_to_hsv(image)  # [H, W] float32 each, integers
    hue = hue * factors[0]
    hue = jnp.floor(jnp.where(hue >= 180, hue - 180, hue))
    saturation = jnp.floor(jnp.minimum(saturation * factors[1], 255.0))
    value = jnp.floor(jnp.minimum(value * factors[2], 255.0))
    return _hsv_to_rgb(hue, saturation, value)


def _rgb_to_hsv(image):
    """OpenCV's 8-bit conversion: hue 0 .. 179, saturation and value 0 .. 255."""
    red, green, blue = (image[..., i].astype(jnp.int32) for i in range(3))  # [H, W]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    sextant = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma),
    )
    hue = _scaled_ratio(sextant, chroma, 30)
    hue = jnp.where(hue < 0, hue + 180, hue)
    saturation = _scaled_ratio(chroma, value, 255)
    return tuple(channel.astype(jnp.float32) for channel in (hue, saturation, value))


def _scaled_ratio(numerator, denominator, scale: int):
    """`scale` * numerator / denominator in OpenCV's fixed point; zero if the numerator is zero."""
    one = 1 << _FIXED_POINT
    denominator = jnp.maximum(denominator, 1).astype(jnp.float32)
    factor = jnp.round(float(scale * one) / denominator).astype(jnp.int32)
    return (numerator * factor + one // 2) >> _FIXED_POINT


def _hsv_to_rgb(hue, saturation, value):
    """Back: channel n of R, G, B falls below `value` by a trapezoid of the hue."""
    sextant = hue / 30.0
    depth = value * saturation / 255.0
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = sextant + offset
        k = jnp.where(k >= 6, k - 6, k)
        channels.append(value - depth * jnp.clip(jnp.minimum(k, 4 - k), 0.0, 1.0))
    return jnp.round(jnp.stack(channels, axis=-1)).astype(jnp.uint8)
