"""Fold: at inference implicit knowledge and batch norm are constants of their convolution.

A unit (`nn.blocks.ConvUnit`) computes ``after * BN(conv(before * x))`` and folds into one
convolution with bias (paper, section 3.3). With W[h, w, i, o] and b the kernel and bias so far:

    before, multiply   W' = W . z[i]
    before, add        b' = b + sum_hwi W . z[i]         (1x1 kernels)
    batch norm         W' = W . s,  b' = (b - mean) . s + bias,   s = scale / sqrt(var + eps)
    after, multiply    W' = W . z[o],  b' = b . z[o]
    after, add         b' = b + z[o]

    fused = fold(spec, variables)
    build(spec, num_classes, fused=True).apply(fused, images)   # equal to rounding
"""

from collections.abc import Mapping

import jax
import numpy as np

from yolor_jax.models.spec import ModelSpec


def fold(spec: ModelSpec, variables: Mapping) -> dict:
    """Folds trained variables into those of the same module built with ``fused=True``.

    Args:
        spec: the model.
        variables: ``{"params": ..., "batch_stats": ...}``.

    Returns:
        ``{"params": ...}``: every convolution with kernel and bias, no implicit, no batch norm.
        Computed in float64 on the host, returned as NumPy arrays in the dtype of the kernels.

    Raises:
        ValueError: the variables are folded already.
    """
    variables = jax.device_get(variables)
    if "batch_stats" not in variables:
        raise ValueError(
            "got variables without batch_stats: they are folded already; "
            "fold takes the variables of a module built with fused=False"
        )
    return {"params": _fold_tree(spec, variables["params"], variables["batch_stats"])}


def _fold_tree(spec: ModelSpec, params: Mapping, stats: Mapping) -> dict:
    if "conv" in params:
        return {"conv": _fold_unit(spec, params, stats)}
    return {name: _fold_tree(spec, child, stats.get(name, {})) for name, child in params.items()}


def _fold_unit(spec: ModelSpec, unit: Mapping, stats: Mapping) -> dict:
    dtype = unit["conv"]["kernel"].dtype
    kernel = np.asarray(unit["conv"]["kernel"], np.float64)  # [h, w, i, o]
    bias = np.asarray(unit["conv"].get("bias", np.zeros(kernel.shape[-1])), np.float64)
    if "implicit_before" in unit:
        kernel, bias = _fold_before(spec.alignment, _latent(unit["implicit_before"]), kernel, bias)
    if "bn" in unit:
        gain, shift = _affine(spec.bn_epsilon, unit["bn"], stats["bn"])
        kernel, bias = kernel * gain, bias * gain + shift
    if "implicit_after" in unit:
        kernel, bias = _fold_after(spec.refinement, _latent(unit["implicit_after"]), kernel, bias)
    return {"kernel": kernel.astype(dtype), "bias": bias.astype(dtype)}


def _latent(implicit: Mapping) -> np.ndarray:
    return np.asarray(implicit["z"], np.float64)


def _fold_before(operator: str, z: np.ndarray, kernel: np.ndarray, bias: np.ndarray):
    if operator == "multiply":
        return kernel * z[:, None], bias
    if kernel.shape[:2] != (1, 1):
        raise ValueError(
            f"got an addition before a {kernel.shape[0]}x{kernel.shape[1]} convolution; "
            "with zero padding only 1x1 kernels take it as a bias"
        )
    return kernel, bias + np.einsum("hwio,i->o", kernel, z)


def _affine(epsilon: float, bn: Mapping, stats: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Batch norm with fixed statistics as ``gain . x + shift``."""
    gain = np.asarray(bn["scale"], np.float64) / np.sqrt(
        np.asarray(stats["var"], np.float64) + epsilon
    )
    return gain, np.asarray(bn["bias"], np.float64) - np.asarray(stats["mean"], np.float64) * gain


def _fold_after(operator: str, z: np.ndarray, kernel: np.ndarray, bias: np.ndarray):
    if operator == "multiply":
        return kernel * z, bias * z
    return kernel, bias + z
