"""Changes of resolution without parameters: space to depth and nearest upsampling.

x = space_to_depth(images)      # [B, H, W, 3] -> [B, H / 2, W / 2, 12]
x = upsample2(x)                # [B, h, w, C] -> [B, 2 h, 2 w, C]
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def space_to_depth(x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
    """Moves each 2x2 block to channels (ReOrg): ``[B, H, W, C] -> [B, H / 2, W / 2, 4 C]``.

    The slices come in the order (even rows, even columns), (odd, even), (even, odd), (odd, odd).
    H and W must be even.
    """
    slices = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    return jnp.concatenate(slices, axis=-1)


def upsample2(x: Float[Array, "B h w C"]) -> Float[Array, "B H W C"]:
    """Nearest upsampling by two: ``out[i] = in[i // 2]`` on both spatial axes."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
