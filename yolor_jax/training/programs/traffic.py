"""Bytes that a compiled TPU program moves to and from a chip's memory, by kind of instruction.

    found = count_traffic(compiled.as_text())
    found["convolution"].bytes, least_traffic(compiled.as_text())

Each instruction that is left after fusion reads its operands and writes its results, whole and
once; what XLA keeps in a memory on the chip costs nothing there. A loop's body counts once. This
is the text's count: a fusion that reads a slice of an operand moves less.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import NamedTuple

from yolor_jax.training.programs.cost import KINDS as COLLECTIVES
from yolor_jax.training.programs.cost import array_bytes

FREE = {
    "parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast", "while",
    "conditional", "call", "after-all", "partition-id", "replica-id",
}  # fmt: skip
"""Instructions that move nothing themselves."""
LAYOUT = {"copy", "transpose", "reshape", "bitcast", "convert", "parameter", "constant", "tuple"}
"""What a fusion may hold that computes nothing."""

ON_CHIP = ("S(1)", "S(3)")
"""Memories on the chip, as a layout names them: vector memory, and the 128 MiB of a v4."""

_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)[a-z0-9]*\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What the instructions of one kind move.

    Attributes:
        count: how many there are.
        bytes: read and written, on each chip.
    """

    count: int
    bytes: int


class _Instruction(NamedTuple):
    name: str
    result: str
    opcode: str
    operands: tuple[str, ...]
    called: str | None


def count_traffic(hlo: str) -> dict[str, Traffic]:
    """The traffic of a program by kind, the largest first.

    Args:
        hlo: the text of a program compiled for a TPU.

    Returns:
        ``{"convolution": Traffic(...)}``. A fusion is of the kind of what it holds: convolution,
        else scatter, gather, reduce or sort, else layout (copies, transposes, casts), else
        elementwise; "staging" is between the chip's memory and the one on the chip.
    """
    computations = _computations(hlo)
    within = {
        one.called
        for computation in computations.values()
        for one in computation
        if one.called and one.opcode not in ("call", "while", "conditional")
    }
    found: dict[str, tuple[int, int]] = {}
    for name, computation in computations.items():
        if name in within:
            continue
        results = {one.name: one.result for one in computation}
        for one in computation:
            if one.opcode in FREE or one.opcode.endswith("-start"):
                continue
            kind = _kind(one, computations)
            if one.opcode.endswith("-done"):  # what was begun with -start, and is here whole
                moved = _bytes(one.result, on_chip=True)
            else:
                moved = _bytes(one.result)
                moved += sum(_bytes(results.get(operand, "")) for operand in one.operands)
            count, total = found.get(kind, (0, 0))
            found[kind] = (count + 1, total + moved)
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    return {kind: Traffic(*numbers) for kind, numbers in ordered}


def least_traffic(hlo: str) -> int:
    """Bytes of the operands and results of all convolutions and matrix products, each once.

    Less is only to be had by joining convolutions, or by keeping arrays on the chip.
    """
    total = 0
    for computation in _computations(hlo).values():
        results = {one.name: one.result for one in computation}
        for one in computation:
            if one.opcode in ("convolution", "dot"):
                arrays = [one.result, *(results.get(operand, "") for operand in one.operands)]
                total += sum(_bytes(array, on_chip=True) for array in arrays)
    return total


def _computations(hlo: str) -> dict[str, list[_Instruction]]:
    """The instructions of each computation, by its name."""
    found: dict[str, list[_Instruction]] = {}
    current: list[_Instruction] = []
    for line in hlo.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = _NAME.search(line)
            current = found.setdefault(name[1] if name else line, [])
        elif match := _LINE.match(line):
            current.append(_instruction(*match.groups()))
    return found


def _instruction(name: str, result: str, opcode: str, rest: str) -> _Instruction:
    called = _CALLED.search(rest)
    operands = tuple(_NAME.findall(rest.split("), ")[0]))
    return _Instruction(name, result, opcode, operands, called[1] if called else None)


def _kind(one: _Instruction, computations: dict[str, list[_Instruction]]) -> str:
    opcode = one.opcode.removesuffix("-done")
    if opcode in COLLECTIVES:
        return opcode
    if one.opcode.endswith("-done"):
        return "staging"
    opcodes = {opcode}
    if opcode == "fusion" and one.called:
        opcodes = set(_opcodes(computations, one.called))
    for kind, members in (
        ("convolution", {"convolution", "dot"}),
        ("scatter", {"scatter", "select-and-scatter"}),
        ("gather", {"gather"}),
        ("reduce", {"reduce", "reduce-window"}),
        ("sort", {"sort"}),
    ):
        if opcodes & members:
            return kind
    return "layout" if opcodes <= LAYOUT else "elementwise"


def _opcodes(computations: dict[str, list[_Instruction]], name: str) -> Iterator[str]:
    """What a computation holds, in fusions of fusions too."""
    for one in computations.get(name, ()):
        if one.opcode == "fusion" and one.called:
            yield from _opcodes(computations, one.called)
        else:
            yield one.opcode


def _bytes(arrays: str, *, on_chip: bool = False) -> int:
    """Of the arrays in a text; those that lie on the chip too, if so asked."""
    total = 0
    for dtype, dimensions, layout in _ARRAY.findall(arrays):
        if not on_chip and any(memory in layout for memory in ON_CHIP):
            continue
        total += array_bytes(dtype, dimensions)
    return total
