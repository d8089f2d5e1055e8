"""Augmentation on the device, in JAX: horizontal flip and HSV jitter.

Everything random is drawn here, under jit, from an explicit key: one key per image by splitting the
key of the step, so an image's augmentation does not depend on how the batch is spread over devices.
HSV jitter follows the original's 8-bit rule: RGB -> HSV with hue 0 .. 179, saturation and value
0 .. 255, all rounded to integers as OpenCV does; each channel times its factor, cut to an integer
(hue modulo 180, the others clipped at 255); and back.

    step = jax.jit(functools.partial(augment, config=AugmentConfig()))
    batch = step(jax.random.fold_in(key, step_number), batch)

After a flip, `Batch.letterbox` no longer maps to the original image; training does not need it.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, PRNGKeyArray, UInt8

from yolor_jax.data.example import Batch

_FIXED_POINT = 12  # bits of fraction in OpenCV's 8-bit conversion


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How much to vary. The defaults are the original's.

    Attributes:
        flip_probability: Of mirroring an image left to right.
        hue: A factor is drawn from 1 - hue .. 1 + hue, uniformly; the others likewise.
        saturation: See `hue`.
        value: See `hue`.

    Raises:
        ValueError: If one is not in 0 .. 1.
    """

    flip_probability: float = 0.5
    hue: float = 0.015
    saturation: float = 0.7
    value: float = 0.4

    def __post_init__(self):
        wrong = {k: v for k, v in dataclasses.asdict(self).items() if not 0 <= v <= 1}
        if wrong:
            raise ValueError(f"got {wrong}; expected numbers from 0 (nothing changes) to 1")


NO_AUGMENTATION = AugmentConfig(flip_probability=0.0, hue=0.0, saturation=0.0, value=0.0)
"""Returns every batch as it is."""


def augment(key: PRNGKeyArray, batch: Batch, config: AugmentConfig) -> Batch:
    """Augments every image of a batch on its own.

    Args:
        key: Of this step.
        batch: Images uint8, ``[B, H, W, 3]``, and their targets.
        config: How much to vary; static under jit.

    Returns:
        A batch of the same shapes and types with new images and boxes.
    """
    keys = jax.random.split(key, batch.image.shape[0])  # [B]
    image, boxes = jax.vmap(lambda *one: _augment_one(*one, config))(
        keys, batch.image, batch.boxes, batch.mask
    )
    return batch._replace(image=image, boxes=boxes)


def _augment_one(key, image, boxes_xyxy, mask, config: AugmentConfig):
    """One image: each step with a key of its own, so that adding one leaves the others as they are.

    The flip comes first: XLA would otherwise compute the colours of both pictures.
    """
    if config.flip_probability:
        flipped = flip_horizontally(image, boxes_xyxy, mask)
        flip = jax.random.bernoulli(jax.random.fold_in(key, 0), config.flip_probability)
        image = jnp.where(flip, flipped[0], image)
        boxes_xyxy = jnp.where(flip, flipped[1], boxes_xyxy)
    if config.hue or config.saturation or config.value:
        gains = jnp.array([config.hue, config.saturation, config.value], jnp.float32)
        draws = jax.random.uniform(jax.random.fold_in(key, 1), (3,), jnp.float32, -1, 1)
        image = scale_hsv(image, 1 + gains * draws)
    return image, boxes_xyxy


def flip_horizontally(
    image: UInt8[Array, "H W 3"], boxes_xyxy: Float32[Array, "T 4"], mask: Bool[Array, " T"]
) -> tuple[UInt8[Array, "H W 3"], Float32[Array, "T 4"]]:
    """Mirrors the whole canvas left to right, padding included; padded targets stay zero.

    Args:
        image: The canvas.
        boxes_xyxy: Targets in its pixels.
        mask: Which of them are targets.

    Returns:
        The mirrored image and boxes.
    """
    width = image.shape[1]
    left, top, right, bottom = jnp.moveaxis(boxes_xyxy, -1, 0)  # [T] each
    mirrored = jnp.stack([width - right, top, width - left, bottom], axis=-1)  # [T, 4]
    return image[:, ::-1], jnp.where(mask[:, None], mirrored, 0.0)


def scale_hsv(image: UInt8[Array, "H W 3"], factors: Float32[Array, "3"]) -> UInt8[Array, "H W 3"]:
    """Multiplies hue, saturation and value by one factor each, in OpenCV's 8-bit colour space.

    Args:
        image: RGB.
        factors: Of hue, saturation and value, from 0 to 2.

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
