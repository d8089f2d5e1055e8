"""Changes of resolution: pixels to channels, nearest upsampling, CSP down-sampling.

```python
x = space_to_depth(images)      # [B, H, W, 3] -> [B, H / 2, W / 2, 12]
x = upsample2(x)                # [B, h, w, C] -> [B, 2 h, 2 w, C]
```
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.nn.blocks import ModuleDef, max_pool


def space_to_depth(x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Moves each 2x2 block to channels (ReOrg): ``[B, H, W, C] -> [B, H / 2, W / 2, 4 C]``.

    The slices come in the order (even rows, even columns), (odd, even), (even, odd), (odd, odd).
    H and W must be even.
    """
    # Rows run faster than columns: the kernels of released weights expect this order.
    slices = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return jnp.concatenate(slices, axis=-1)


def haar_wavelet(x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """One level of the Haar wavelet transform: ``[B, H, W, C] -> [B, H / 2, W / 2, 4 C]``.

    Each 2x2 block becomes its mean, and its three differences (rows, columns, diagonals) divided
    by 4 and shifted by 0.5, so that values in 0..1 stay there. Channels: the means of all C, then
    for each of the C its three differences. H and W must be even.
    """
    a, b = x[:, ::2, ::2], x[:, ::2, 1::2]
    c, d = x[:, 1::2, ::2], x[:, 1::2, 1::2]
    mean = (a + b + c + d) / 4
    details = [a + b - c - d, a - b + c - d, a - b - c + d]
    details = jnp.stack(details, axis=-1) / 4 + 0.5  # [B, h, w, C, 3]
    return jnp.concatenate([mean, details.reshape(*mean.shape[:3], -1)], axis=-1)


TO_CHANNELS = {"space_to_depth": space_to_depth, "haar_wavelet": haar_wavelet}


@jax.jit  # under a name of its own, by which the export to ONNX finds its operator
def upsample2(x: Float[Array, "B h w C"]) -> Float[Array, "B H W C"]:
    """Nearest upsampling by two: ``out[i] = in[i // 2]`` on both spatial axes."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


class CSPDown(nn.Module):
    """Down-sampling by two on two paths, each with half of the output channels.

        [conv3 stride 2 (conv1(x)), conv1(max 2x2 (x))]

    Attributes:
        features: output channels.
        conv: partial of `nn.conv.ConvUnit`.
    """

    features: int
    conv: ModuleDef

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w F"]:
        """Returns ``[B, H / 2, W / 2, features]``."""
        half = self.features // 2
        y = self.conv(x.shape[-1], name="mix")(x, train=train)
        y = self.conv(half, 3, 2, name="stride")(y, train=train)
        pooled = self.conv(half, name="pooled")(max_pool(x, 2, 2), train=train)
        return jnp.concatenate([y, pooled], axis=-1)
