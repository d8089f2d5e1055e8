"""A batch at another resolution, on the device: bilinear, as the original does in multi-scale.

```python
smaller = jax.jit(functools.partial(resize, side=512))(batch)
```
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from yolor_jax.data.example import Batch


class _Taps(NamedTuple):
    """Between which two pixels each pixel of the result lies, and how near to the second."""

    low: Int[np.ndarray, " side"]
    high: Int[np.ndarray, " side"]
    part: Float32[np.ndarray, " side"]


def resize(batch: Batch, side: int) -> Batch:
    """Images stretched to a square of ``side`` pixels, and their boxes with them.

    A pixel of the result is the mean of the four that its centre lies between, also where the image
    shrinks.

    Args:
        batch: images ``[B, H, W, 3]`` with their targets.
        side: of the result in pixels.

    Returns:
        A batch with other ``image``, ``boxes_xyxy`` and ``letterbox``; the same one if H and W are
        ``side``.
    """
    height, width = batch.image.shape[1:3]
    if height == width == side:
        return batch
    rows = _interpolate(
        jnp.asarray(batch.image), _taps(height, side), axis=1
    )  # [B, side, W, 3] float32
    image = _interpolate(rows, _taps(width, side), axis=2)  # [B, side, side, 3] float32
    x, y = np.float32(side / width), np.float32(side / height)
    return batch._replace(
        image=jnp.round(image).astype(jnp.uint8),
        boxes_xyxy=batch.boxes_xyxy * np.array([[[x, y, x, y]]]),
        letterbox=batch.letterbox * np.array([[y, x, y]]),
    )


def _taps(length: int, side: int) -> _Taps:
    """Pixel centres of the result in the image; outside its outermost centres, those."""
    position = np.clip((np.arange(side) + 0.5) * length / side - 0.5, 0, length - 1)
    low = np.floor(position).astype(np.int32)
    return _Taps(low, np.minimum(low + 1, length - 1), (position - low).astype(np.float32))


def _interpolate(image: jax.Array, taps: _Taps, axis: int) -> Float[Array, "B _ _ 3"]:
    """Along one axis; float32."""
    low, high = (
        jnp.take(image, index, axis=axis).astype(jnp.float32) for index in (taps.low, taps.high)
    )
    part = np.expand_dims(taps.part, [i for i in range(4) if i != axis])
    return low + part * (high - low)
