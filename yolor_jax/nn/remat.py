"""Rematerialisation: blocks that keep nothing for the backward pass but their input.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016. The backward pass computes such
a block a second time, so that memory is paid for with time. Values and parameter paths stay.

    x = apply_block(BackboneStage(..., name="stage1"), x, train=train, remat="^stage")
"""

import re

import flax.linen as nn
from jaxtyping import Array


def apply_block(block: nn.Module, *maps: Array, train: bool, remat: str) -> Array:
    """``block(*maps, train=train)``, rematerialised if its name is chosen.

    Args:
        block: a named module, made within the call of another.
        maps: its arguments, ``[B, h, w, C]``.
        train: use and update batch statistics.
        remat: a regular expression; "" chooses no block.

    Returns:
        What the block returns.
    """
    # Without this the block would be wrapped for nothing, and its trace would differ.
    if not chosen(block.name, remat):
        return block(*maps, train=train)
    return nn.remat(lambda block, *maps: block(*maps, train=train))(block, *maps)


def chosen(name: str, remat: str) -> bool:
    """Whether a regular expression is found in the name of a block; "" chooses none."""
    return bool(remat) and re.search(remat, name) is not None
