"""New training images out of those of a group: mosaics under random maps, and mixup.

    sample = move(keys, batch, config, composing=jnp.asarray(True))     # mosaic, then affine map
    sample = overlay(keys, sample, config, composing=jnp.asarray(True))  # mixup

A group is `AugmentConfig.group` images that follow each other in the batch, or an image and the
partners that came with it from the data set. Nothing leaves its group.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, Key, UInt8

from yolor_jax import boxes
from yolor_jax.augment import affine, mosaic, pixels, warp
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.example import Batch

# What a key is folded with.
_AFFINE, _MOSAIC, _CENTRE, _PARTNERS, _RATIO = range(5)
_SAMPLERS = {"gathers": warp.warp_by_gathers, "products": warp.warp_by_products}


class Sample(NamedTuple):
    """Images with their targets: the fields of `Batch` that augmentation changes."""

    image: UInt8[Array, "*B H W 3"]
    boxes_xyxy: Float32[Array, "*B T 4"]
    labels: Int32[Array, "*B T"]
    mask: Bool[Array, "*B T"]
    is_crowd: Bool[Array, "*B T"]
    identity: Int32[Array, "*B T"]

    @classmethod
    def of(cls, batch: Batch) -> "Sample":
        """Those of a batch."""
        return cls(*(jnp.asarray(getattr(batch, name)) for name in cls._fields))


def move(
    keys: Key[Array, " B"], batch: Batch, config: AugmentConfig, composing: Bool[Array, ""]
) -> Sample:
    """Each image, as a mosaic or alone, under a random map.

    Args:
        keys: of each image that comes out.
        batch: ``[B, ...]``, or ``[carried * B, ...]`` with partners from elsewhere.
        config: probabilities and sizes.
        composing: false: no mosaics.

    Returns:
        ``[B, ...]``. Of more targets than there is room for, the largest are kept.
    """
    size = config.carried if config.carried > 1 else config.group if config.mosaic else 1
    grouped = _grouped(batch, size)
    keys = keys.reshape(grouped.image.shape[0], -1)

    def in_group(keys, batch):
        if config.carried > 1:
            members = jnp.arange(config.carried, dtype=jnp.int32)[None]
        else:
            key = jax.random.fold_in(keys[0], _PARTNERS)
            members = mosaic.partners(key, size, config.pieces)  # [G, K]
        # One image after the other: XLA for CPU would otherwise fuse the samples into what follows,
        # and compute them anew for each use.
        return jax.lax.map(lambda one: _move(*one, batch, config, composing), (keys, members))

    return _ungrouped(jax.vmap(in_group)(keys, grouped))


def overlay(
    keys: Key[Array, " B"], sample: Sample, config: AugmentConfig, composing: Bool[Array, ""]
) -> Sample:
    """Mixup: each image, with a probability, mixed with another one of its group.

    Args:
        keys: of each image.
        sample: ``[B, ...]``.
        config: probability and group.
        composing: false: nothing changes.

    Returns:
        The same shapes; of the targets of both images, the largest are kept.
    """
    grouped = _grouped(sample, config.group)
    keys = keys.reshape(-1, config.group)

    def in_group(keys, sample):
        key = jax.random.fold_in(keys[0], _PARTNERS)
        other = mosaic.partners(key, config.group, 2)[:, 1]
        partner = jax.tree.map(lambda x: x[other], sample)
        return jax.vmap(lambda *one: _mix(*one, config, composing))(keys, sample, partner)

    return _ungrouped(jax.vmap(in_group)(keys, grouped))


def _grouped(tree, size: int):
    """Axis 0 as [groups, size]."""
    return jax.tree.map(
        lambda x: jnp.asarray(x).reshape(x.shape[0] // size, size, *x.shape[1:]), tree
    )


def _ungrouped(tree):
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), tree)


def _move(key, members, batch: Batch, config: AugmentConfig, composing) -> Sample:
    """One image of a group, with its partners or alone."""
    size = batch.image.shape[1:3]
    tiles, canvas = _draw_tiles(key, members, batch, config, composing)
    draws = affine.draw_affine(
        jax.random.fold_in(key, _AFFINE),
        degrees=config.degrees, translate=config.translate, scale=config.scale,
        shear=config.shear, perspective=config.perspective,
    )  # fmt: skip
    matrix = affine.affine_matrix(draws, canvas, size)
    before = mosaic.tile_boxes(tiles, batch.boxes_xyxy[tiles.member], canvas)  # [K, T, 4]
    after = affine.move_boxes(before, matrix, size)
    kept = affine.are_candidates(before, after, draws.scale)
    kept &= batch.mask[tiles.member] & tiles.used[:, None]  # [K, T]
    labels, is_crowd, identity = (
        field[tiles.member] for field in (batch.labels, batch.is_crowd, batch.identity)
    )
    targets = _ungrouped((after, labels, kept, is_crowd, identity))  # [K T, ...]
    image = _sample_image(batch.image, tiles, matrix, size, config)
    return _largest(Sample(image, *targets), config.max_targets or batch.mask.shape[1])


def _draw_tiles(
    key, members, batch: Batch, config: AugmentConfig, composing
) -> tuple[mosaic.Tiles, Float32[Array, "2"]]:
    """The pieces of one canvas, and its width and height."""
    height, width = size = batch.image.shape[1:3]
    side = jnp.array([width, height], jnp.float32)
    content = mosaic.content_of(batch.letterbox[members], size)  # [K, 2]
    alone = mosaic.single(members[:1], jax.tree.map(lambda x: x[:1], content))
    if not config.mosaic:
        return alone, side
    is_mosaic, is_nine = jax.random.uniform(
        jax.random.fold_in(key, _MOSAIC), (2,), jnp.float32
    ) < jnp.array([config.mosaic, config.mosaic_nine], jnp.float32)
    is_mosaic &= composing
    centre_key = jax.random.fold_in(key, _CENTRE)
    four = jax.tree.map(lambda x: x[:4], content)
    centre = mosaic.draw_centre(centre_key, 0.5, 1.5, size)
    tiles = mosaic.fill_up(mosaic.mosaic_four(members[:4], four, centre, size), len(members))
    if config.mosaic_nine:
        offset = mosaic.draw_centre(centre_key, 0.0, 1.0, size)
        nine = mosaic.mosaic_nine(members, content, offset, size)
        tiles = jax.tree.map(lambda a, b: jnp.where(is_nine, a, b), nine, tiles)
    alone = mosaic.fill_up(alone, len(members))
    tiles = jax.tree.map(lambda a, b: jnp.where(is_mosaic, a, b), tiles, alone)
    return tiles, jnp.where(is_mosaic, 2 * side, side)


def _sample_image(images, tiles, matrix, size, config: AugmentConfig):
    """The image, by the way that suits the map and the device."""
    if not config.is_separable:
        return warp.warp_general(images, tiles, matrix, size)
    if config.sampling != "auto":
        return _SAMPLERS[config.sampling](images, tiles, matrix, size)
    return jax.lax.platform_dependent(
        images,
        tiles,
        matrix,
        tpu=lambda *given: warp.warp_by_products(*given, size),
        default=lambda *given: warp.warp_by_gathers(*given, size),
    )


def _mix(key, own: Sample, other: Sample, config: AugmentConfig, composing) -> Sample:
    """One image, perhaps mixed with another one."""
    is_mixed = jax.random.bernoulli(key, config.mixup) & composing
    mixed = pixels.mix(own.image, other.image, pixels.draw_ratio(jax.random.fold_in(key, _RATIO)))
    image = jax.lax.optimization_barrier(jnp.where(is_mixed, mixed, own.image))
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), own[1:], other[1:])
    both = Sample(image, *both)
    count = own.mask.shape[0]
    both = both._replace(mask=both.mask & (is_mixed | (jnp.arange(2 * count) < count)))
    return _largest(both, count)


def _largest(sample: Sample, count: int) -> Sample:
    """The `count` largest targets, in order of size, crowds last; padded ones are zero."""
    area = jnp.where(sample.is_crowd, 0.0, boxes.area(sample.boxes_xyxy))
    area = jnp.where(sample.mask, area, -1.0)
    # Not top_k: it would be computed for all devices together.
    first = jnp.argsort(-area)[:count]
    mask = sample.mask[first]
    boxes_xyxy = jnp.where(mask[:, None], sample.boxes_xyxy[first], 0.0)
    labels = jnp.where(mask, sample.labels[first], 0)
    largest = (boxes_xyxy, labels, mask, sample.is_crowd[first] & mask)
    missing = count - mask.shape[0]
    largest = jax.tree.map(lambda x: jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)), largest)
    identity = jnp.where(mask, sample.identity[first], -1)
    identity = jnp.pad(identity, (0, missing), constant_values=-1)
    return Sample(sample.image, *largest, identity)
