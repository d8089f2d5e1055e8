"""Augmentation on the device, in JAX: mosaic, random affine map, mixup, HSV jitter, flips.

uint8 images in, uint8 images out, in one jitted function. Every random number follows from the key
of the step and the position in the batch, so the result does not depend on how the batch is spread
over devices, and no device needs an image of another one (`AugmentConfig.require_groups`).

    step = jax.jit(functools.partial(augment, config=AugmentConfig()))
    batch = step(jax.random.fold_in(key, step_number), batch)

The order is the original's: mosaic -> affine map -> mixup -> HSV -> flips. Afterwards
`Batch.letterbox` and `original_size` are still those of the first image of a mosaic, and no longer
map to it; training does not need them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from yolor_jax.augment.compose import Sample, move, overlay
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.augment.pixels import flip_horizontally, flip_vertically, scale_hsv
from yolor_jax.data.example import Batch

# What a key is folded with; one more leaves the random numbers of the others as they are.
_FLIP, _HSV, _FLIP_VERTICAL, _MOVE, _MIXUP = range(5)


def augment(
    key: PRNGKeyArray,
    batch: Batch,
    config: AugmentConfig,
    composing: bool | Bool[Array, ""] = True,
) -> Batch:
    """Augments every image of a batch.

    Args:
        key: of this step.
        batch: images uint8, ``[B, H, W, 3]``, and their targets. With partners from elsewhere,
            ``[carried * B, ...]``: each image is followed by the partners of its mosaic.
        config: how much to vary; static under jit.
        composing: false leaves out mosaic and mixup, for the last epochs of a run; may be traced.

    Returns:
        A batch of B images of the same types, with new images and targets; ``[B, max_targets]`` of
        them if that is set.

    Raises:
        InputError: if groups do not divide the batch.
    """
    count = batch.image.shape[0] // config.carried
    config.require_groups(count)
    composing = jnp.asarray(composing)
    numbers = jnp.arange(count, dtype=jnp.uint32)
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)  # [B]
    sample = Sample.of(batch)
    if config.moves:
        sample = move(_folded(keys, _MOVE), batch, config, composing)
    if config.mixup:
        sample = overlay(_folded(keys, _MIXUP), sample, config, composing)
    image, boxes_xyxy = jax.vmap(lambda *one: _recolour_and_flip(*one, config))(
        keys, sample.image, sample.boxes_xyxy, sample.mask
    )
    sample = sample._replace(image=image, boxes_xyxy=boxes_xyxy)
    return Batch(*(field[:: config.carried] for field in batch))._replace(**sample._asdict())


def _folded(keys, number: int):
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _recolour_and_flip(key, image, boxes_xyxy, mask, config: AugmentConfig):
    """One image, each step with a key of its own.

    Flips come first: XLA would otherwise compute the colours of both pictures.
    """
    for probability, flip, number in (
        (config.flip_horizontal, flip_horizontally, _FLIP),
        (config.flip_vertical, flip_vertically, _FLIP_VERTICAL),
    ):
        if probability:
            flipped = flip(image, boxes_xyxy, mask)
            is_flipped = jax.random.bernoulli(jax.random.fold_in(key, number), probability)
            image = jnp.where(is_flipped, flipped[0], image)
            boxes_xyxy = jnp.where(is_flipped, flipped[1], boxes_xyxy)
    if config.hue or config.saturation or config.value:
        gains = jnp.array([config.hue, config.saturation, config.value], jnp.float32)
        draws = jax.random.uniform(jax.random.fold_in(key, _HSV), (3,), jnp.float32, -1, 1)
        image = scale_hsv(image, 1 + gains * draws)
    return image, boxes_xyxy
