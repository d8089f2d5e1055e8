"""Batch norm's statistics taken anew from images, in the place of the running ones.

The running mean of a channel follows activations that move with every step of the optimiser. Where
a channel has a large mean and a small spread, it ends up several standard deviations beside the
mean of the data, and the network finds little of what it has learnt. What the data give under the
final weights is exact:

    mean = E[mean of a batch]        var = E[variance in a batch] + Var[mean of a batch]

References:
    Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", 2021, arXiv:2105.07576, section 3: there
    it is called precise batch norm.
"""

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt8

from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector, normalise

Moments = Callable[[Mapping, Array], PyTree]


def make_moments(module: Detector) -> Moments:
    """``moments(variables, images)``: mean and variance of a batch at each batch norm.

    A pure function for the caller to jit, with images uint8 [B, H, W, 3]; every batch norm
    normalises by the batch, as in training. The result has the leaves of ``batch_stats``.
    """
    momentum = module.spec.bn_momentum

    def moments(variables: Mapping, images: UInt8[Array, "B H W 3"]) -> PyTree:
        # From zero, one update leaves the momentum's share of the batch's own statistics.
        nothing = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        _, updated = module.apply(
            {"params": variables["params"], "batch_stats": nothing},
            normalise(images, module.dtype),
            train=True,
            mutable=["batch_stats"],
        )
        return jax.tree.map(lambda share: share / momentum, updated["batch_stats"])

    return moments


def exact_statistics(
    moments: Moments, variables: Mapping, batches: Iterable[UInt8[Array | np.ndarray, "B H W 3"]]
) -> dict:
    """The statistics of all batches together.

    Args:
        moments: jitted `make_moments`.
        variables: of the network, not folded, on the device.
        batches: images as training shows them to the network; all batches of one size.

    Returns:
        ``batch_stats`` as float32 NumPy arrays.

    Raises:
        InputError: there is no batch.
    """
    seen = [jax.device_get(moments(variables, images)) for images in batches]
    if not seen:
        raise InputError("got no batch; expected images to take the statistics from")
    return _together(seen)


def _together(seen: list[Mapping]) -> dict:
    """The law of total variance, at each batch norm of the tree."""
    if set(seen[0]) != {"mean", "var"}:
        return {name: _together([one[name] for one in seen]) for name in seen[0]}
    means = np.array([one["mean"] for one in seen], np.float64)
    within = np.array([one["var"] for one in seen], np.float64).mean(axis=0)
    return {
        "mean": means.mean(axis=0).astype(np.float32),
        "var": (within + means.var(axis=0)).astype(np.float32),
    }
