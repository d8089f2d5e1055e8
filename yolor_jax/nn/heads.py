"""Heads: detection, multi-label classification of images, embedding of objects.

The detection head has implicit knowledge on both sides of the prediction convolution:

    y = im . (W (x + ia) + b)

ia aligns the features of each pyramid level (iFA, implicit feature alignment), im refines the
predictions (iPR, implicit prediction refinement). The other heads begin with the 3x3 convolution of
their branch, in front of which each task may have implicit knowledge of its own (paper, multi-task
learning). The 3x3 convolution of the detection branch stands in the neck.

One use: ``DetectionHead(anchors=3, num_classes=80, strides=(8, 16, 32), conv=conv)(features)``.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.nn.blocks import ModuleDef
from yolor_jax.nn.knowledge import Knowledge


def prediction_bias(anchors: int, num_classes: int, stride: int, fan_in: int):
    """Initialiser of the prediction bias: PyTorch's uniform(+-1/sqrt(fan_in)) plus a prior.

    Without the prior the many empty cells would dominate the first steps of training.
    The prior assumes 8 objects in a 640 pixel image and equally frequent classes: log(8 / cells)
    on objectness and log(0.6 / (K - 0.99)) on the classes (Lin et al., Focal loss, section 3.3).
    """

    def init(key, shape, dtype=jnp.float32):
        bound = 1 / math.sqrt(fan_in)
        prior = jnp.zeros((anchors, 5 + num_classes), dtype)
        prior = prior.at[:, 4].set(math.log(8 / (640 / stride) ** 2))
        prior = prior.at[:, 5:].set(math.log(0.6 / (num_classes - 0.99)))
        return prior.reshape(shape) + jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class DetectionHead(nn.Module):
    """One 1x1 prediction convolution per pyramid level.

    Attributes:
        anchors: anchors A per cell.
        num_classes: K.
        strides: pixels per cell of each level, finest first.
        conv: partial of `ConvUnit`.
        alignment: implicit knowledge before the convolution (iFA), or None.
        refinement: implicit knowledge behind it (iPR), or None.
    """

    anchors: int
    num_classes: int
    strides: tuple[int, ...]
    conv: ModuleDef
    alignment: Knowledge | None = None
    refinement: Knowledge | None = None

    @nn.compact
    def __call__(self, features: Sequence[Float[Array, "B _h _w _C"]]) -> tuple[Array, ...]:
        """Predicts from the features of each level, finest first.

        Returns:
            Per level the logits ``[B, h, w, A, 5 + K]``: x y w h objectness classes.
        """
        logits = []
        for level, (x, stride) in enumerate(zip(features, self.strides, strict=True)):
            unit = self.conv(
                self.anchors * (5 + self.num_classes),
                activation="linear",
                norm=False,
                bias=True,
                bias_init=prediction_bias(self.anchors, self.num_classes, stride, x.shape[-1]),
                before=self.alignment,
                after=self.refinement,
                anchors=self.anchors,
                name=f"level{level}",
            )
            y = unit(x, train=False)  # it has no batch norm, the only thing that asks
            logits.append(y.reshape(*y.shape[:3], self.anchors, 5 + self.num_classes))
        return tuple(logits)


class ClassificationHead(nn.Module):
    """Which classes are in the image: branch entry, global average, linear prediction.

    Attributes:
        num_classes: K.
        conv: partial of `ConvUnit`.
        before: implicit knowledge at the entry, or None.
    """

    num_classes: int
    conv: ModuleDef
    before: Knowledge | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B K"]:
        """Returns logits ``[B, K]`` from the coarsest level; each class is a sigmoid of its own."""
        x = self.conv(2 * x.shape[-1], 3, before=self.before, name="entry")(x, train=train)
        x = x.mean((1, 2), keepdims=True)  # [B, 1, 1, 2 C]
        predict = self.conv(
            self.num_classes, activation="linear", norm=False, bias=True, name="predict"
        )
        return predict(x, train=train)[:, 0, 0]


class EmbeddingLevel(nn.Module):
    """The embedding branch on one level: entry, and a 1x1 convolution to D dimensions."""

    features: int
    conv: ModuleDef
    before: Knowledge | None

    @nn.compact
    def __call__(self, x: Float[Array, "B h w C"], *, train: bool) -> Float[Array, "B h w D"]:
        """Returns ``[B, h, w, features]``."""
        x = self.conv(2 * x.shape[-1], 3, before=self.before, name="entry")(x, train=train)
        predict = self.conv(
            self.features, activation="linear", norm=False, bias=True, name="predict"
        )
        return predict(x, train=train)


class EmbeddingHead(nn.Module):
    """A vector for each cell of each level, not normalised (losses and metrics do that).

    Attributes:
        features: dimension D.
        conv: partial of `ConvUnit`.
        before: implicit knowledge at each level's entry, or None.
    """

    features: int
    conv: ModuleDef
    before: Knowledge | None = None

    @nn.compact
    def __call__(
        self, levels: Sequence[Float[Array, "B _h _w _C"]], *, train: bool
    ) -> tuple[Array, ...]:
        """Returns ``[B, h, w, D]`` for each level of the pyramid."""
        return tuple(
            EmbeddingLevel(self.features, self.conv, self.before, name=f"level{i}")(x, train=train)
            for i, x in enumerate(levels)
        )
