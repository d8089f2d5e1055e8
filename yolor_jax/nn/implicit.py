"""Implicit knowledge: a learned constant that corrects a representation (paper, section 3).

    y = f(x) * g(z)        with * one of addition and multiplication, and g(z) = z, a vector.

The latent z does not depend on the input. It starts at "no effect" (0 for addition, 1 for
multiplication) plus normal noise of 0.02, and is one explicit leaf of the parameter tree.

Use it in any Linen module:

    class Head(nn.Module):
        @nn.compact
        def __call__(self, x):                                  # [B, H, W, 256]
            x = Implicit(256, "add", name="implicit_before")(x)
            return nn.Conv(255, (1, 1), name="conv")(x)         # [B, H, W, 255]
"""

import operator

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

OPERATORS = {"add": operator.add, "multiply": operator.mul}
NEUTRAL = {"add": 0.0, "multiply": 1.0}


def normal_around(mean: float, std: float):
    """An initialiser that draws from N(mean, std)."""

    def init(key, shape, dtype=jnp.float32):
        return mean + std * jax.random.normal(key, shape, dtype)

    return init


class Implicit(nn.Module):
    """Combines a representation with implicit knowledge, ``y = x * g(z)``.

    Attributes:
        features: channels C of the representation.
        operator: "add" (``x + z``) or "multiply" (``x . z``).
        std: standard deviation of the start values around the operator's neutral element.

    The parameter is ``z``, float32 ``[C]``; call the module ``implicit_<place>`` so that its path
    says what it is.
    """

    features: int
    operator: str = "add"
    std: float = 0.02

    @nn.compact
    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch C"]:
        """Returns ``x * g(z)``, broadcast over all axes but the last, in the dtype of x."""
        init = normal_around(NEUTRAL[self.operator], self.std)
        z = self.param("z", init, (self.features,))
        z = z.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        return OPERATORS[self.operator](x, z)
