"""How each primitive of JAX becomes nodes of ONNX: the closed set that the networks here need.

A rule is ``rule(graph, equation, *operands) -> Tensor``. Operands are tensors or, where they do not
depend on the images, NumPy arrays; at least one is a tensor. Axis 0 of every tensor is the batch,
which no rule touches.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from yolor_jax.exports.onnx_graph.graph import NCHW, Graph, Tensor

Operand = Tensor | np.ndarray
Rule = Callable[..., Tensor]


class Unsupported(Exception):
    """An equation that a rule does not cover; the message says why."""


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise Unsupported(why)


def result(equation: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of what an equation gives."""
    aval = equation.outvars[0].aval
    return tuple(aval.shape), np.dtype(aval.dtype)


def elementwise(op: str) -> Rule:
    """The rule of an operation on each element, broadcasting its operands."""

    def rule(graph: Graph, equation: Any, *operands: Operand) -> Tensor:
        shape, dtype = result(equation)
        order = next(x.order for x in operands if isinstance(x, Tensor))
        return graph.tensor(op, [graph.operand(x, order) for x in operands], shape, order, dtype)

    return rule


def add(graph: Graph, equation: Any, a: Operand, b: Operand) -> Tensor:
    """A sum; that of a convolution and a value for each channel is the convolution's bias."""
    conv = graph.producer(a) if isinstance(a, Tensor) else None
    if conv is None or conv.op_type != "Conv" or len(conv.input) > 2 or isinstance(b, Tensor):
        return elementwise("Add")(graph, equation, a, b)
    bias = np.broadcast_to(b, a.shape)[0, 0, 0]
    if not np.array_equal(b, np.broadcast_to(bias, b.shape)):
        return elementwise("Add")(graph, equation, a, b)
    attributes = {one.name: helper.get_attribute_value(one) for one in conv.attribute}
    inputs = [*conv.input, graph.constant(np.ascontiguousarray(bias))]
    return graph.tensor("Conv", inputs, a.shape, a.order, a.dtype, **attributes)


def convolve(graph: Graph, equation: Any, x: Tensor, kernel: np.ndarray) -> Tensor:
    """A convolution of NHWC with HWIO, as Flax has it."""
    params = equation.params
    numbers = params["dimension_numbers"]
    plain = (
        tuple(numbers.lhs_spec) == tuple(numbers.out_spec) == NCHW
        and tuple(numbers.rhs_spec) == (3, 2, 0, 1)
        and set(params["lhs_dilation"]) == {1}
        and params["batch_group_count"] == 1
        and isinstance(kernel, np.ndarray)
    )
    _require(plain, "a convolution that is not of NHWC with a constant kernel HWIO")
    shape, dtype = result(equation)
    weights = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return graph.tensor(
        "Conv",
        [graph.ordered(x, NCHW).name, graph.constant(weights)],
        shape,
        NCHW,
        dtype,
        kernel_shape=kernel.shape[:2],
        strides=params["window_strides"],
        dilations=params["rhs_dilation"],
        pads=_pads(params["padding"]),
        group=params["feature_group_count"],
    )


def max_pool(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """A maximum over windows of height and width."""
    params = equation.params
    window, strides, padding = (
        params[name] for name in ("window_dimensions", "window_strides", "padding")
    )
    plain = (
        len(window) == 4
        and window[0] == window[3] == strides[0] == strides[3] == 1
        and not any((*padding[0], *padding[3]))
        and {*params["base_dilation"], *params["window_dilation"]} == {1}
    )
    _require(plain, "a pool over other axes than height and width of NHWC, or with dilation")
    shape, dtype = result(equation)
    return graph.tensor(
        "MaxPool",
        [graph.ordered(x, NCHW).name],
        shape,
        NCHW,
        dtype,
        kernel_shape=window[1:3],
        strides=strides[1:3],
        pads=_pads(padding[1:3]),
    )


def _pads(padding: Any) -> list[int]:
    """Pairs for each axis as ONNX has them: all beginnings, then all ends."""
    return [int(low) for low, _ in padding] + [int(high) for _, high in padding]


def cut(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """A slice with constant borders."""
    shape, dtype = result(equation)
    starts, limits, strides = (
        equation.params[name] for name in ("start_indices", "limit_indices", "strides")
    )
    strides = strides or (1,) * len(starts)
    whole = zip(starts, limits, strides, x.shape, strict=True)
    axes = [axis for axis, cut in enumerate(whole) if cut[:3] != (0, cut[3], 1)]
    _require(0 not in axes, "a part of the batch")
    places = [
        np.array(values, np.int64)
        for values in (
            [starts[axis] for axis in axes],
            [limits[axis] for axis in axes],
            [x.order.index(axis) for axis in axes],
            [strides[axis] for axis in axes],
        )
    ]
    inputs = [x.name, *map(graph.constant, places)]
    return graph.tensor("Slice", inputs, shape, x.order, dtype)


def concatenate(graph: Graph, equation: Any, *operands: Operand) -> Tensor:
    """Arrays one behind the other along an axis."""
    shape, dtype = result(equation)
    axis = equation.params["dimension"]
    _require(axis != 0, "a concatenation of batches")
    order = next(x.order for x in operands if isinstance(x, Tensor))
    shapes = [tuple(atom.aval.shape) for atom in equation.invars]
    names = [graph.full(x, s, order) for x, s in zip(operands, shapes, strict=True)]
    return graph.tensor("Concat", names, shape, order, dtype, axis=order.index(axis))


def stack(graph: Graph, equation: Any, *operands: Operand) -> Tensor:
    """Arrays side by side along a new axis, which lies last in the file."""
    shape, dtype = result(equation)
    axis = equation.params["axis"]
    _require(axis != 0, "an axis before the batch")
    order = next(x.order for x in operands if isinstance(x, Tensor))
    last = graph.constant(np.array([len(order)], np.int64))
    full = [
        graph.full(x, tuple(atom.aval.shape), order)
        for x, atom in zip(operands, equation.invars, strict=True)
    ]
    names = [graph.node("Unsqueeze", [name, last]) for name in full]
    order = (*(old + (old >= axis) for old in order), axis)
    return graph.tensor("Concat", names, shape, order, dtype, axis=len(order) - 1)


def reshape(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """Another shape of the same elements; those of an image stay together."""
    shape, dtype = result(equation)
    before = tuple(equation.invars[0].aval.shape)
    _require(shape[:1] == before[:1], "a reshape of the batch")
    natural = tuple(range(len(before)))
    target = np.array([0, *shape[1:]], np.int64)  # 0: as it is
    inputs = [graph.full(x, before, natural), graph.constant(target)]
    return graph.tensor("Reshape", inputs, shape, tuple(range(len(shape))), dtype)


def squeeze(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """Without some axes of size one."""
    shape, dtype = result(equation)
    gone = equation.params["dimensions"]
    _require(0 not in gone, "a squeeze of the batch")
    axes = np.array(sorted(x.order.index(axis) for axis in gone), np.int64)
    order = tuple(axis - sum(one < axis for one in gone) for axis in x.order if axis not in gone)
    return graph.tensor("Squeeze", [x.name, graph.constant(axes)], shape, order, dtype)


def broadcast(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """New axes of size one; whoever reads the tensor broadcasts them."""
    shape, _ = result(equation)
    kept = equation.params["broadcast_dimensions"]
    _require(kept[:1] == (0,), "an axis before the batch")
    sizes = dict(zip(kept, x.shape, strict=True))
    new = [axis for axis in range(len(shape)) if axis not in sizes]
    order = (*(kept[axis] for axis in x.order), *new)
    shape = tuple(sizes.get(axis, 1) for axis in range(len(shape)))
    if not new:
        return Tensor(x.name, shape, order, x.dtype)
    axes = graph.constant(np.arange(len(x.order), len(order)))
    return graph.tensor("Unsqueeze", [x.name, axes], shape, order, x.dtype)


def transpose(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """Another order of the axes, which costs nothing: the tensor lies as it did."""
    permutation = tuple(equation.params["permutation"])
    _require(permutation[0] == 0, "the batch on another axis")
    order = tuple(permutation.index(axis) for axis in x.order)
    return Tensor(x.name, tuple(x.shape[axis] for axis in permutation), order, x.dtype)


def cast(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """Another dtype."""
    _, dtype = result(equation)
    to = helper.np_dtype_to_tensor_dtype(dtype)
    return graph.tensor("Cast", [x.name], x.shape, x.order, dtype, to=to)


def power(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """A square."""
    _require(equation.params["y"] == 2, f"a power of {equation.params['y']}")
    return graph.tensor("Mul", [x.name, x.name], x.shape, x.order, x.dtype)


def upsample(graph: Graph, equation: Any, x: Tensor) -> Tensor:
    """`nn.resample.upsample2`: each pixel four times."""
    shape, dtype = result(equation)
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    return graph.tensor(
        "Resize",
        [graph.ordered(x, NCHW).name, "", scales],
        shape,
        NCHW,
        dtype,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


RULES: dict[str, Rule] = {
    "add": add,
    "sub": elementwise("Sub"),
    "mul": elementwise("Mul"),
    "div": elementwise("Div"),
    "logistic": elementwise("Sigmoid"),
    "tanh": elementwise("Tanh"),
    "integer_pow": power,
    "square": lambda graph, equation, x: elementwise("Mul")(graph, equation, x, x),
    "conv_general_dilated": convolve,
    "reduce_window_max": max_pool,
    "slice": cut,
    "concatenate": concatenate,
    "stack": stack,
    "reshape": reshape,
    "squeeze": squeeze,
    "broadcast_in_dim": broadcast,
    "transpose": transpose,
    "convert_element_type": cast,
}
"""By the name of the primitive."""

FUNCTIONS: dict[str, Rule] = {"softplus": elementwise("Softplus"), "upsample2": upsample}
"""By the name of a jitted function that ONNX has an operator for; others are looked into."""
