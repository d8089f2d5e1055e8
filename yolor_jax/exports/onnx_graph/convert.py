"""A function of JAX into a graph: its jaxpr, equation by equation.

    graph = Graph(dynamic_batch=False)
    images = graph.input("images", (1, 64, 64, 3), np.dtype("float32"))
    levels = convert(graph, lambda images: module.apply(variables, images).detect, images)

What does not depend on the inputs is computed at once and becomes a constant.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from yolor_jax.errors import InputError
from yolor_jax.exports.onnx_graph.graph import Graph, Tensor, compressed
from yolor_jax.exports.onnx_graph.rules import FUNCTIONS, RULES, Operand, Unsupported

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr"}
CALLS |= {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Primitives that call a function, and the parameter that holds it."""


def convert(graph: Graph, function: Callable, *operands: Tensor) -> list[Tensor]:
    """Adds a function to a graph.

    Args:
        graph: that the operands are in.
        function: of arrays, whose first axis is the batch; pure.
        operands: its arguments.

    Returns:
        Its results, a list of the leaves.

    Raises:
        InputError: a primitive that has no rule, with the line that it comes from.
    """
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands]
    closed = jax.make_jaxpr(function)(*shapes)
    return _walk(graph, closed.jaxpr, closed.consts, operands)


def _walk(
    graph: Graph,
    jaxpr: core.Jaxpr,
    constants: Sequence[Any],
    operands: Sequence[Operand],
    callers: tuple[Any, ...] = (),
) -> list[Operand]:
    """The results of a function; ``callers`` are the equations that it is called in."""
    values: dict[core.Var, Operand] = dict(
        zip(jaxpr.constvars, map(np.asarray, constants), strict=True)
    )
    values |= zip(jaxpr.invars, operands, strict=True)

    def value_of(atom: core.Var | core.Literal) -> Operand:
        if isinstance(atom, core.Literal):
            return np.asarray(atom.val, atom.aval.dtype)
        return values[atom]

    for equation in jaxpr.eqns:
        inputs = [value_of(atom) for atom in equation.invars]
        results = _equation(graph, equation, inputs, callers)
        values |= zip(equation.outvars, results, strict=True)
    return [value_of(atom) for atom in jaxpr.outvars]


def _equation(
    graph: Graph, equation: Any, operands: list[Operand], callers: tuple[Any, ...]
) -> list[Operand]:
    """The results of one equation."""
    name = equation.primitive.name
    if not any(isinstance(x, Tensor) for x in operands):
        return _constants(equation, operands)
    rule = RULES.get(name)
    if name in CALLS:
        rule = FUNCTIONS.get(equation.params.get("name"))
        if rule is None:
            inner = equation.params[CALLS[name]]
            jaxpr, constants = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
            return _walk(graph, jaxpr, constants, operands, (*callers, equation))
    graph.scope = str(equation.source_info.name_stack) or graph.scope
    try:
        if rule is None:
            raise Unsupported(f"the primitive {name!r}")
        return [rule(graph, equation, *operands)]
    except Unsupported as error:
        raise InputError(
            f"ONNX export has no rule for {error}, from {_source(*callers, equation)}; add one to "
            "exports/onnx_graph/rules.py, or export to stablehlo"
        ) from error


def _constants(equation: Any, operands: list[np.ndarray]) -> list[np.ndarray]:
    """The results of an equation that does not depend on the inputs.

    What repeats is kept as a view: a bias is broadcast to a whole map before it is added.
    """
    shape = equation.outvars[0].aval.shape
    match equation.primitive.name:
        case "broadcast_in_dim":
            sizes = dict(
                zip(equation.params["broadcast_dimensions"], operands[0].shape, strict=True)
            )
            array = operands[0].reshape([sizes.get(axis, 1) for axis in range(len(shape))])
            return [np.broadcast_to(array, shape)]
        case "convert_element_type":
            array = compressed(operands[0]).astype(equation.params["new_dtype"])
            return [np.broadcast_to(array, shape)]
        case _:
            results = equation.primitive.bind(*operands, **equation.params)
            return [
                np.asarray(one)
                for one in (results if equation.primitive.multiple_results else [results])
            ]


def _source(*equations: Any) -> str:
    """The line that the innermost of some equations comes from, outside of libraries."""
    libraries = ("/jax/", "/flax/", "/jaxtyping/", "/beartype/")
    for equation in reversed(equations):
        for frame in equation.source_info.traceback.frames:
            if not any(library in frame.file_name for library in libraries):
                return f"{frame.file_name}:{frame.line_num}, in {frame.function_name}"
    return "a library"
