"""Fold: at inference implicit knowledge and batch norm are constants of their convolution.

The act is called a fold, and its result folded; only the argument by which a module expects such
parameters is called ``fused``.

A unit (`nn.conv.ConvUnit`) computes ``after * BN(conv(before * x))`` and folds into one convolution
with bias (paper, inference). With W[h, w, i, o] and b the kernel and bias so far:

    before, multiply   W' = W . g[i]
    before, add        W g = sum_i W[h, w, i, o] g[i]       1x1: b' = b + W g
    before, concat     the same with the part of W that reads g, which is then dropped
    batch norm         W' = W . s,  b' = (b - mean) . s + bias,   s = scale / sqrt(var + eps)
    after, multiply    W' = W . g[o],  b' = b . g[o]
    after, add         b' = b + g[o]

For k > 1, W g becomes the kernel of one more input channel, of ones: like the padding it is zero
outside the map, so that the border is exact too. With an implicit for each anchor, g[a, i] meets
the outputs o of anchor a.

A block with a joint batch norm (`nn.blocks.JointNorm`) has a second rule: each half of it goes to
the bare convolution that ends its branch; where the processed branch ends in a sum or an
activation, its half stays, as ``affine``.

    folded = fold(spec, variables)
    build(spec, num_classes, fused=True).apply(folded, images)   # equal to rounding
    print(format_rules(explain(spec, variables)))
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.models.detector import require_variables_of
from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.conv import needs_ones
from yolor_jax.nn.knowledge import Knowledge

READERS_OF_THE_INPUT = ("enter", "shortcut")  # of the block that may have an implicit of its own


class Rule(NamedTuple):
    """One rule that was applied.

    Attributes:
        path: path of the convolution, or of the affine that stays.
        rule: what was done, in words.
    """

    path: str
    rule: str


def fold(spec: ModelSpec, variables: Mapping) -> dict:
    """Folds trained variables into those of the same module built with ``fused=True``.

    Args:
        spec: the model that they were trained with. The variables do not say which operator an
            implicit has: with another spec of the same shapes the result is wrong, and no error.
        variables: ``{"params": ..., "batch_stats": ...}``.

    Returns:
        ``{"params": ...}``: every convolution with kernel and bias, no implicit, no batch norm.
        Computed in float64 on the host, returned as NumPy arrays in the dtype of the kernels.

    Raises:
        InputError: the variables are folded already, or not those of the model; lists what differs.
    """
    return _Fold(spec).variables(variables)


def explain(spec: ModelSpec, variables: Mapping) -> list[Rule]:
    """The rules that `fold` applies to these variables, in the order of the tree."""
    folding = _Fold(spec)
    folding.variables(variables)
    return folding.rules


def format_rules(rules: list[Rule]) -> str:
    """One line for each path, then how often each rule was applied."""
    lines: dict[str, list[str]] = {}
    for path, rule in rules:
        lines.setdefault(path, []).append(rule)
    width = max(map(len, lines), default=0)
    listed = [f"{path:{width}}  {'; '.join(applied)}" for path, applied in lines.items()]
    counts = Counter(rule for _, rule in rules)
    return "\n".join([*listed, "", *(f"{count:5} x {rule}" for rule, count in counts.items())])


class _Fold:
    """One walk over the tree, noting each rule."""

    def __init__(self, spec: ModelSpec):
        self.spec = spec
        self.rules: list[Rule] = []

    def variables(self, variables: Mapping) -> dict:
        variables = jax.device_get(variables)
        if "batch_stats" not in variables:
            raise InputError(
                "got variables without batch_stats: they are folded already; "
                "fold takes the variables of a module built with fused=False"
            )
        require_variables_of(self.spec, variables)
        return {"params": self.tree("", variables["params"], variables["batch_stats"])}

    def tree(self, path: str, params: Mapping, stats: Mapping) -> dict:
        if "conv" in params:
            return self.unit(path, params, stats)
        if "implicit_before" in params:
            params = _handed_to_readers(params)
        if "join" in params:
            return self.block(path, params, stats)
        return self.children(path, params, stats)

    def children(self, path: str, params: Mapping, stats: Mapping) -> dict:
        return {
            name: self.tree(f"{path}/{name}".lstrip("/"), child, stats.get(name, {}))
            for name, child in params.items()
        }

    def unit(self, path: str, unit: Mapping, stats: Mapping) -> dict:
        folded, rules = fold_unit(
            unit,
            stats,
            before=self.spec.knowledge_at(f"{path}/implicit_before"),
            after=self.spec.knowledge_at(f"{path}/implicit_after"),
            anchors=len(self.spec.anchors[0]),
            epsilon=self.spec.bn_epsilon,
        )
        self.rules += [Rule(path, rule) for rule in rules]
        return folded

    def block(self, path: str, block: Mapping, stats: Mapping) -> dict:
        """A block whose branches end in bare convolutions, with one batch norm behind both."""
        norm = block["join"]["bn"]
        gain, shift = batch_norm_as_affine(norm, stats["join"]["bn"], self.spec.bn_epsilon)
        rest = {name: child for name, child in block.items() if name != "join"}
        folded = self.children(path, rest, stats)
        # The joint batch norm acts on [processed, shortcut], in this order.
        start = len(gain) - block["shortcut"]["conv"]["kernel"].shape[-1]
        for name, half in (("leave", slice(0, start)), ("shortcut", slice(start, None))):
            if name in block:
                # The branch is folded already, so that only its kernel and bias are left to scale.
                kernel, bias = (_float64(folded[name]["conv"][leaf]) for leaf in ("kernel", "bias"))
                kernel, bias = kernel * gain[half], bias * gain[half] + shift[half]
                folded[name] = _convolution(kernel, bias, norm["scale"].dtype)
                rule = "half of the joint batch norm into kernel and bias"
                self.rules.append(Rule(f"{path}/{name}", rule))
        if "leave" not in block:
            affine = {"scale": gain[:start], "bias": shift[:start]}
            affine = {name: leaf.astype(norm["scale"].dtype) for name, leaf in affine.items()}
            folded["join"] = {"affine": affine}
            rule = "half of the joint batch norm stays as an affine"
            self.rules.append(Rule(f"{path}/join/affine", rule))
        return folded


def _handed_to_readers(block: Mapping) -> dict:
    """An implicit before a block stands before each convolution that reads the block's input."""
    implicit = {"implicit_before": block["implicit_before"]}
    return {
        name: {**child, **implicit} if name in READERS_OF_THE_INPUT else child
        for name, child in block.items()
        if name != "implicit_before"
    }


def fold_unit(
    unit: Mapping,
    stats: Mapping,
    *,
    before: Knowledge | None,
    after: Knowledge | None,
    anchors: int,
    epsilon: float,
) -> tuple[dict, list[str]]:
    """Folds the parameters of one `nn.conv.ConvUnit`.

    Args:
        unit: its parameters.
        stats: its running statistics.
        before: implicit knowledge on its input, or None.
        after: implicit knowledge on its output, or None.
        anchors: number A of its equal groups of outputs, one for each anchor.
        epsilon: added to the variance in its batch norm.

    Returns:
        The parameters of the same unit with ``fused=True``, NumPy, and the rules in words.
    """
    kernel, bias = _float64(unit["conv"]["kernel"]), unit["conv"].get("bias")  # [h, w, i, o]
    bias = np.zeros(kernel.shape[-1]) if bias is None else _float64(bias)
    rules = []
    # From the input to the output, the order in which the unit computes.
    if "implicit_before" in unit:
        kernel, bias, rule = fold_before(before, unit["implicit_before"], kernel, bias)
        rules.append(rule)
    if "bn" in unit:
        gain, shift = batch_norm_as_affine(unit["bn"], stats["bn"], epsilon)
        kernel, bias = kernel * gain, bias * gain + shift
        rules.append("batch norm into kernel and bias")
    if "implicit_after" in unit:
        kernel, bias, rule = fold_after(after, unit["implicit_after"], anchors, kernel, bias)
        rules.append(rule)
    return _convolution(kernel, bias, unit["conv"]["kernel"].dtype), rules


def fold_before(
    knowledge: Knowledge, leaves: Mapping, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """Implicit knowledge on the input of a convolution, into kernel and bias.

    Args:
        knowledge: which implicit knowledge it is.
        leaves: its leaves.
        kernel: float64 [h, w, i, o].
        bias: float64 [o].

    Returns:
        Kernel and bias, and the rule in words.
    """
    height, width, inputs, outputs = kernel.shape
    g = np.atleast_2d(knowledge.constant(_float64_leaves(leaves), inputs))  # [A, C]
    grouped = kernel.reshape(height, width, inputs, len(g), outputs // len(g))  # h w i a o
    name = f"{knowledge.operator} before"
    if knowledge.operator == "multiply":
        return (grouped * g.T[:, :, None]).reshape(kernel.shape), bias, f"{name} into the kernel"
    match knowledge.operator:
        case "add":  # W (g + x) = W g + W x
            reads_g, reads_x = grouped, kernel
        case "concat":  # W [g; x]: the first inputs of W read g, the others x
            reads_g, reads_x = grouped[:, :, : g.shape[1]], kernel[:, :, g.shape[1] :]
        case operator:
            raise ValueError(f"no rule folds {operator!r} in front of a convolution")
    constant = np.einsum("hwiao,ai->hwao", reads_g, g).reshape(height, width, 1, outputs)
    if needs_ones(knowledge, height):
        kernel = np.concatenate([reads_x, constant], axis=2)
        return kernel, bias, f"{name} into the kernel of a channel of ones"
    return reads_x, bias + constant[0, 0, 0], f"{name} into the bias"


def fold_after(
    knowledge: Knowledge, leaves: Mapping, anchors: int, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """Implicit knowledge on the output of a convolution, into kernel and bias.

    Args:
        knowledge: which implicit knowledge it is.
        leaves: its leaves.
        anchors: number of equal groups of outputs; matters where each has an implicit of its own.
        kernel: float64 [h, w, i, o].
        bias: float64 [o].

    Returns:
        Kernel and bias, and the rule in words.
    """
    groups = 1 if knowledge.scope == "all" else anchors
    g = knowledge.constant(_float64_leaves(leaves), len(bias) // groups).reshape(-1)  # [o]
    # (W x + b) . g scales both; (W x + b) + g moves the bias alone.
    if knowledge.operator == "multiply":
        return kernel * g, bias * g, "multiply after into kernel and bias"
    if knowledge.operator == "add":
        return kernel, bias + g, "add after into the bias"
    raise ValueError(f"no rule folds {knowledge.operator!r} behind a convolution")


def batch_norm_as_affine(bn: Mapping, stats: Mapping, epsilon: float) -> tuple:
    """Batch norm with its running statistics as ``gain . x + shift``, float64 [C] each."""
    gain = _float64(bn["scale"]) / np.sqrt(_float64(stats["var"]) + epsilon)
    return gain, _float64(bn["bias"]) - _float64(stats["mean"]) * gain


def _convolution(kernel: np.ndarray, bias: np.ndarray, dtype: np.dtype) -> dict:
    return {"conv": {"kernel": kernel.astype(dtype), "bias": bias.astype(dtype)}}


def _float64_leaves(leaves: Mapping) -> dict[str, np.ndarray]:
    return {name: _float64(leaf) for name, leaf in leaves.items()}


def _float64(array: np.ndarray) -> np.ndarray:
    """In float64, so that what is rounded is the result alone."""
    return np.asarray(array, np.float64)
