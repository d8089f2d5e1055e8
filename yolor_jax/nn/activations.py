"""Activation functions, by the names that configurations have for them.

```python
y = ACTIVATIONS["silu"](x)
```
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    return x * jnp.tanh(jax.nn.softplus(x))


def linear(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The argument."""
    return x


ACTIVATIONS = {"silu": jax.nn.silu, "mish": mish, "linear": linear}
