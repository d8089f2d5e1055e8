"""What a compiled program takes: memory, operations, words between devices.

    lowered = step.lower(state, batch, key)
    count_flops(lowered)
    compiled = lowered.compile()
    Memory.of(compiled).total, count_collectives(compiled.as_text())

All of it is known before anything runs, and for devices that are not there
(`training.programs.topology`).
"""

import dataclasses
import math
import re

import jax.stages

from yolor_jax.errors import InputError

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# One instruction of HLO text: its result, then the kind. Of a collective in two parts, "-start" and
# "-done", the second has the result alone.
_COLLECTIVE = re.compile(rf" = (.+?) ({'|'.join(KINDS)})(-done)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)[a-z0-9]*\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a program needs on each device.

    Attributes:
        arguments: of what it is given.
        outputs: of what it returns.
        aliased: of outputs that take the place of donated arguments.
        temporaries: of what it holds in between.
    """

    arguments: int
    outputs: int
    aliased: int
    temporaries: int

    @property
    def total(self) -> int:
        """Bytes in use at one time, at most."""
        return self.arguments + self.outputs - self.aliased + self.temporaries

    @classmethod
    def of(cls, compiled: jax.stages.Compiled) -> "Memory":
        """The memory of a compiled program, by XLA's analysis."""
        analysis = compiled.memory_analysis()
        return cls(
            analysis.argument_size_in_bytes,
            analysis.output_size_in_bytes,
            analysis.alias_size_in_bytes,
            analysis.temp_size_in_bytes,
        )


@dataclasses.dataclass(frozen=True)
class Collectives:
    """The collectives of one kind in a program.

    Attributes:
        count: how often they stand in it; what stands in a loop counts once.
        bytes: of their results, on each device.
    """

    count: int
    bytes: int


def count_collectives(hlo: str) -> dict[str, Collectives]:
    """The collectives of a program by kind.

    Args:
        hlo: the text of a compiled program for several devices.

    Returns:
        ``{"all-reduce": Collectives(...)}``, the kinds that occur.
    """
    found: dict[str, list[int]] = {}
    for result, kind, _ in _COLLECTIVE.findall(hlo):
        arrays = _ARRAY.findall(result)
        found.setdefault(kind, []).append(sum(array_bytes(*array) for array in arrays))
    return {
        kind: Collectives(len(found[kind]), sum(found[kind])) for kind in KINDS if kind in found
    }


def array_bytes(dtype: str, dimensions: str) -> int:
    """Bytes of an array of HLO text: of a dtype such as ``bf16``, dimensions such as ``8,128``."""
    bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
    return math.prod(int(n) for n in dimensions.split(",") if n) * bits // 8


def readable(size: int) -> str:
    """A number of bytes for people, such as "12.3 GiB" or "4.0 MiB"."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 2**10:,.1f} KiB"


def count_flops(lowered: jax.stages.Lowered) -> float:
    """Floating-point operations of a program, a multiply-add as two, by XLA's count.

    Args:
        lowered: for CPU, where all devices together count as one; XLA does not count for others.

    Raises:
        InputError: XLA has no count for it.
    """
    flops = (lowered.cost_analysis() or {}).get("flops")
    if flops is None:
        raise InputError("XLA counts no operations of this program; expected one lowered for CPU")
    return flops
