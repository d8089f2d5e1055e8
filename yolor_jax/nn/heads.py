"""Detection head with implicit knowledge on both sides of the prediction convolution.

    y = im . (W (x + ia) + b)        paper, section 4: ia aligns features (iFA), im refines
                                     predictions (iPR)

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
    """Start values of the prediction bias: PyTorch's uniform(+-1/sqrt(fan_in)) plus a prior.

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
        strides: of the levels, in pixels.
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
        """Returns per level the logits ``[B, h, w, A, 5 + K]``: x y w h objectness classes."""
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
            y = unit(x, train=False)
            logits.append(y.reshape(*y.shape[:3], self.anchors, 5 + self.num_classes))
        return tuple(logits)
