"""Embedding of objects: vectors by which an object is known again.

A data set of still images names no identities, so each object is one of its own (FairMOT, arXiv
2004.01888, section 3.4). A classifier over as many identities as there are boxes is out of the
question; in its place stands the supervised contrastive loss (Khosla et al., arXiv 2004.11362,
equation 2) among the objects of an image. An object's vector is read from the cell of its centre on
each level; the vectors of one object on different levels attract, those of different objects repel.

    objects = batch.mask & ~batch.is_crowd
    samples = sample(outputs.embed, batch.boxes_xyxy, objects, strides=spec.strides)
    loss = contrastive_loss(samples, temperature=0.1)
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32

EPSILON = 1e-12
"""Added to squared lengths, so that a vector of zeros has a gradient."""


class Samples(NamedTuple):
    """The vectors of the targets of each image, from every level.

    Attributes:
        vectors: of length 1.
        mask: true where a target stands alone in its cell of that level. Targets whose centres
            share a cell read one vector there, which stands for none of them.
    """

    vectors: Float32[Array, "B T L D"]
    mask: Bool[Array, "B T L"]


def sample(
    embed: Sequence[Float[Array, "B _h _w D"]],
    boxes_xyxy: Float[Array, "B T 4"],
    mask: Bool[Array, "B T"],
    *,
    strides: tuple[int, ...],
) -> Samples:
    """Reads the vectors in the cells of the targets' centres.

    Args:
        embed: per level; lower precisions are raised to float32.
        boxes_xyxy: in pixels of the network input.
        mask: true for a target that is one object (leave crowds out).
        strides: pixels per cell of each level.

    Returns:
        ``Samples``, float32.
    """
    centres = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2  # [B, T, 2]
    vectors, alone = [], []
    for level, stride in zip(embed, strides, strict=True):
        height, width = level.shape[1:3]
        last = jnp.array([width - 1, height - 1], jnp.int32)
        cell_xy = jnp.clip((centres / stride).astype(jnp.int32), 0, last[None, None])
        cell = cell_xy[..., 1] * width + cell_xy[..., 0]  # [B, T]
        flat = level.reshape(level.shape[0], height * width, level.shape[3])
        vectors.append(jnp.take_along_axis(flat, cell[..., None], axis=1))
        shared = (cell[:, :, None] == cell[:, None]) & mask[:, None] & mask[:, :, None]
        alone.append(shared.sum(axis=-1) == 1)
    stacked = jnp.stack(vectors, axis=2).astype(jnp.float32)  # [B, T, L, D]
    squared = jnp.square(stacked).sum(axis=-1, keepdims=True)
    return Samples(stacked * jax.lax.rsqrt(squared + EPSILON), jnp.stack(alone, axis=2))


def describe(
    embed: Sequence[Float[Array, "B _h _w D"]],
    boxes_xyxy: Float[Array, "B T 4"],
    mask: Bool[Array, "B T"],
    *,
    strides: tuple[int, ...],
) -> Float32[Array, "B T D"]:
    """One vector of length 1 for each box: the mean of those that `sample` reads on the levels.

    Two boxes are as alike as the dot product of their vectors, -1..1. Arguments as of `sample`.
    """
    mean = sample(embed, boxes_xyxy, mask, strides=strides).vectors.mean(axis=2)  # [B, T, D]
    squared = jnp.square(mean).sum(axis=-1, keepdims=True)
    return mean * jax.lax.rsqrt(squared + EPSILON)


def contrastive_loss(samples: Samples, *, temperature: float) -> Float[Array, ""]:
    """The supervised contrastive loss among the samples of each image.

    Every sample i with a positive (the same target on another level) and a negative (another
    target) is an anchor. With s_ij the dot product of two vectors over the temperature, its loss is
    the mean over its positives p of ``log sum_{j != i} exp(s_ij) - s_ip``.

    Args:
        samples: ``[B, T, L, ...]``.
        temperature: smaller ones weigh the hardest negatives more.

    Returns:
        Mean over the anchors of the batch, float32; 0 if there are none, so that an image with
        fewer than two targets counts nothing.
    """
    batch, targets, levels = samples.mask.shape
    vectors = samples.vectors.reshape(batch, targets * levels, -1)  # [B, N, D]
    real = samples.mask.reshape(batch, -1)  # [B, N]
    target = jnp.repeat(jnp.arange(targets), levels)
    same = (target[:, None] == target[None])[None]  # [1, N, N]
    pairs = real[:, :, None] & real[:, None] & ~jnp.eye(len(target), dtype=bool)[None]
    return contrast(vectors, pairs & same, pairs & ~same, temperature)


def contrast(
    vectors: Float[Array, "G N D"],
    positive: Bool[Array, "G N N"],
    negative: Bool[Array, "G N N"],
    temperature: float,
) -> Float[Array, ""]:
    """The supervised contrastive loss among the vectors of each group.

    Args:
        vectors: of length 1.
        positive: which of a group each is to be near to.
        negative: which it is to be far from.
        temperature: smaller ones weigh the hardest negatives more.

    Returns:
        Mean over the vectors that have a positive and a negative; 0 if there are none.
    """
    pairs = positive | negative
    anchor = positive.any(axis=-1) & negative.any(axis=-1)  # [G, N]
    similarity = jnp.einsum("gnd,gmd->gnm", vectors, vectors) / temperature
    # A row of nothing but -inf has logsumexp -inf and a gradient of NaN, which no mask removes.
    compared = jnp.where(pairs | ~anchor[..., None], similarity, -jnp.inf)
    normaliser = jax.nn.logsumexp(compared, axis=-1)  # [G, N]
    attraction = jnp.where(positive, similarity, 0).sum(axis=-1)
    attraction = attraction / jnp.maximum(positive.sum(axis=-1), 1).astype(jnp.float32)
    number = jnp.maximum(anchor.sum(), 1).astype(jnp.float32)
    return jnp.where(anchor, normaliser - attraction, 0).sum() / number
