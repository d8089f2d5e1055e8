"""Other anchors for a model: those of a recipe, a checkpoint, or found for a data set.

    spec = with_anchors(spec, [[[5, 6], [8, 14]], [[16, 11], [30, 33]], [[62, 45], [59, 119]]])
    by_level(find_anchors(sizes_wh, 9, seed=0), levels=3)  # such a list

The number of anchors per level decides the number of outputs, so that weights of a network with
another number do not fit.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from yolor_jax.errors import InputError
from yolor_jax.models.spec import Anchors, ModelSpec


def with_anchors(spec: ModelSpec, description: Any) -> ModelSpec:
    """A model with other anchors.

    Args:
        spec: the model.
        description: ``[level][anchor][width, height]`` in pixels of the network input, finest level
            first, equally many for each level; None keeps those that the model has.

    Returns:
        The same model with those anchors.

    Raises:
        InputError: ``description`` is no such list.
    """
    if description is None:
        return spec
    return dataclasses.replace(spec, anchors=_typed(spec, description))


def by_level(anchors_wh: Float[np.ndarray, "A 2"], levels: int) -> list[list[list[float]]]:
    """Divides anchors among the levels of a model.

    Args:
        anchors_wh: [A, 2], by ascending area, in pixels of the network input.
        levels: number of levels; divides A.

    Returns:
        ``[level][anchor][width, height]``, finest level first, rounded to tenths of pixels.
    """
    return np.round(anchors_wh, 1).reshape(levels, -1, 2).tolist()


def all_sizes(spec: ModelSpec) -> Float[np.ndarray, "A 2"]:
    """The (width, height) of the anchors of all levels, finest first, in pixels."""
    return np.array(spec.anchors, np.float64).reshape(-1, 2)


def _typed(spec: ModelSpec, description: Any) -> Anchors:
    levels = len(spec.strides)
    try:
        anchors = tuple(
            tuple((float(width), float(height)) for width, height in level) for level in description
        )
    except (TypeError, ValueError):
        anchors = ()
    sizes = [side for level in anchors for size in level for side in size]
    numbers = {len(level) for level in anchors}
    fits = len(anchors) == levels and len(numbers) == 1 and sizes
    if not fits or not all(math.isfinite(side) and side > 0 for side in sizes):
        raise InputError(
            f"the anchors of {spec.name} are {description!r}; expected for each of its {levels} "
            "levels a list of equally many [width, height] in pixels, such as "
            f"{[list(map(list, level[:2])) for level in spec.anchors]}"
        )
    return anchors
