"""A graph of ONNX while it is built: nodes, constants, and how each tensor's axes lie.

A `Tensor` is an array of the program whose axes may lie in another order in the file. Convolutions
of ONNX take NCHW and those of the program NHWC: the order is carried along from one operation to
the next, and axes are moved only where somebody needs another order.

    graph = Graph(dynamic_batch=True)
    x = graph.input("images", (1, 64, 64, 3), np.dtype("uint8"))
    y = graph.tensor("Cast", [x.name], x.shape, x.order, np.dtype("float32"), to=...)
    graph.name_output(y, "pixels")
    model = graph.model({"pixels": y}, metadata={})
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 8  # the oldest one of that opset, so that old runtimes read it
BATCH = "batch"
"""Name of the first axis where any number of images will do."""
NCHW = (0, 3, 1, 2)
SMALL = 64  # elements up to which equal constants are kept once


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An array of the program in the file.

    Attributes:
        name: in the graph.
        shape: in the order of the program; 1 where whoever reads it broadcasts. Axis 0 is the
            batch.
        order: the axis of the program at each axis of the file.
        dtype: of its elements.
    """

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: np.dtype


class Graph:
    """Nodes and constants, in the order in which they are computed.

    Attributes:
        scope: where in the network the next nodes belong; part of their names.
    """

    def __init__(self, *, dynamic_batch: bool):
        """An empty graph.

        Args:
            dynamic_batch: whether any number of images will do; shapes then have a batch of 1.
        """
        self.dynamic_batch = dynamic_batch
        self.scope = ""
        self._nodes: dict[str, onnx.NodeProto] = {}  # by their first output
        self._inputs: list[Tensor] = []
        self._constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple, str] = {}
        self._new_names: dict[str, str] = {}

    def input(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
        """Declares an input."""
        self._inputs.append(Tensor(name, shape, _natural(len(shape)), dtype))
        return self._inputs[-1]

    def node(self, op: str, inputs: Sequence[str], *, outputs: int = 1, **attributes: Any) -> str:
        """Adds a node and returns the name of its first output; the others are ``NAME.1``, ..."""
        name = f"{self.scope}/{op}_{len(self._nodes)}".lstrip("/")
        names = [name, *(f"{name}.{i}" for i in range(1, outputs))]
        self._nodes[name] = helper.make_node(op, inputs, names, name=name, **attributes)
        return name

    def tensor(
        self,
        op: str,
        inputs: Sequence[str],
        shape: tuple[int, ...],
        order: tuple[int, ...],
        dtype: np.dtype,
        **attributes: Any,
    ) -> Tensor:
        """Adds a node whose output is an array of the program."""
        return Tensor(self.node(op, inputs, **attributes), shape, order, dtype)

    def constant(self, array: np.ndarray) -> str:
        """The name of a constant with these values; an axis along which they repeat has size 1."""
        array = compressed(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= SMALL else None
        if key in self._known:
            return self._known[key]
        name = f"constant_{len(self._constants)}"
        self._constants[name] = array
        if key:
            self._known[key] = name
        return name

    def ordered(self, x: Tensor, order: tuple[int, ...]) -> Tensor:
        """The same array with its axes in another order."""
        if x.order == order:
            return x
        moves = [x.order.index(axis) for axis in order]
        return self.tensor("Transpose", [x.name], x.shape, order, x.dtype, perm=moves)

    def natural(self, x: Tensor) -> Tensor:
        """The same array with its axes as the program has them."""
        return self.ordered(x, _natural(len(x.order)))

    def operand(self, x: "Tensor | np.ndarray", order: tuple[int, ...]) -> str:
        """The name of what can be broadcast against tensors of an order."""
        if isinstance(x, Tensor):
            return self.ordered(x, order).name
        return self.constant(x.transpose(order) if x.ndim else x)

    def full(self, x: "Tensor | np.ndarray", shape: tuple[int, ...], order: tuple[int, ...]) -> str:
        """As `operand`, with nothing left to broadcast."""
        name = self.operand(x, order)
        if isinstance(x, Tensor) and x.shape == shape:
            return name
        sides = np.array([shape[axis] for axis in order[1:]], np.int64)
        target = self.node("Concat", [self.batch_size(), self.constant(sides)], axis=0)
        return self.node("Expand", [name, target])

    def batch_size(self) -> str:
        """The name of the number of images, int64 [1]."""
        if not self.dynamic_batch:
            return self.constant(np.array(self._inputs[0].shape[:1], np.int64))
        return self.node("Shape", [self._inputs[0].name], start=0, end=1)

    def producer(self, x: Tensor) -> onnx.NodeProto | None:
        """The node that a tensor is the first output of; None for an input."""
        return self._nodes.get(x.name)

    def name_output(self, x: Tensor, name: str) -> Tensor:
        """Gives a tensor a name that people know it by; its axes come as the program has them."""
        x = self.natural(x)
        self._new_names[x.name] = name
        return x

    def model(
        self, outputs: Mapping[str, Tensor], *, metadata: Mapping[str, str], producer: str
    ) -> onnx.ModelProto:
        """The finished model.

        Args:
            outputs: by the names that `name_output` gave them.
            metadata: of the model.
            producer: its version, for the model's own fields.
        """
        nodes = self._needed({x.name for x in outputs.values()})
        read = {name for node in nodes for name in node.input}
        tensors = [
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in self._constants.items()
            if name in read
        ]
        graph = helper.make_graph(
            [self._renamed(node) for node in nodes],
            "yolor_jax",
            [self._value_info(x, x.name) for x in self._inputs],
            [self._value_info(x, name) for name, x in outputs.items()],
            tensors,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="yolor_jax",
            producer_version=producer,
        )
        helper.set_model_props(model, dict(metadata))
        return model

    def _needed(self, names: set[str]) -> list[onnx.NodeProto]:
        """The nodes that outputs depend on."""
        needed = []
        for node in reversed(self._nodes.values()):
            if not names.isdisjoint(node.output):
                needed.append(node)
                names |= set(node.input)
        return needed[::-1]

    def _renamed(self, node: onnx.NodeProto) -> onnx.NodeProto:
        inputs, outputs = (
            [self._new_names.get(name, name) for name in names]
            for names in (node.input, node.output)
        )
        new = onnx.NodeProto()
        new.CopyFrom(node)
        del new.input[:], new.output[:]
        new.input.extend(inputs)
        new.output.extend(outputs)
        return new

    def _value_info(self, x: Tensor, name: str) -> onnx.ValueInfoProto:
        batch = BATCH if self.dynamic_batch else x.shape[0]
        dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
        return helper.make_tensor_value_info(name, dtype, [batch, *x.shape[1:]])


def compressed(array: np.ndarray) -> np.ndarray:
    """An array without its repetitions: size 1 along axes that were broadcast."""
    index = tuple(
        slice(0, 1) if size > 1 and stride == 0 else slice(None)
        for size, stride in zip(array.shape, array.strides, strict=True)
    )
    return array[(..., *index)]


def _natural(rank: int) -> tuple[int, ...]:
    return tuple(range(rank))
