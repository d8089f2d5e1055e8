"""Size and cost of a network, counted from shapes: nothing is allocated, computed or compiled.

    summary = summarize(build("yolor_csp"), (640, 640))
    summary.total.parameters                                # 52_923_994
    print(format_summary(summary))

What is counted, at each stage of the network and in total:

- parameters: entries of the leaves of ``params``, without running statistics; implicit ones are
  those below a path part that begins with ``implicit_``.
- FLOPs: two for each multiply-add of a convolution (`flax.linen.Conv`), those that meet the zero
  padding included. Biases, batch norm, activations and resampling count nothing.
- activations: bytes of the outputs of the same convolutions, each once, in their dtype
  (Radosavovic et al., Designing Network Design Spaces, 2020, section 3). That is what the network
  writes, not what it holds at one time.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from yolor_jax.table import text_table
from yolor_jax.trees import flatten_by_path, select

DEPTH = 2  # parts of a path that name a row, as in neck/topdown1
IMPLICIT = r"(^|/)implicit_"


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a part of a network has and costs (the docstring of this file says what is counted).

    Attributes:
        parameters: entries of all leaves.
        implicit_parameters: those of them that are implicit knowledge.
        flops: of the convolutions.
        activation_bytes: of the outputs of the convolutions.
    """

    parameters: int = 0
    implicit_parameters: int = 0
    flops: int = 0
    activation_bytes: int = 0

    @property
    def implicit_percent(self) -> float:
        """Share of implicit knowledge in the parameters."""
        return 100 * self.implicit_parameters / max(self.parameters, 1)


@dataclasses.dataclass(frozen=True)
class Row:
    """One stage of a network.

    Attributes:
        name: path of its module, such as ``neck/topdown1``.
        output_shape: ``(B, h, w, C)``.
        counts: of the module and all below it.
    """

    name: str
    output_shape: tuple[int, ...]
    counts: Counts


@dataclasses.dataclass(frozen=True)
class Summary:
    """A network on an input of a given size.

    Attributes:
        input_shape: ``(B, H, W, 3)``.
        rows: the stages in the order in which they run; each parameter belongs to one.
    """

    input_shape: tuple[int, int, int, int]
    rows: tuple[Row, ...]

    @property
    def total(self) -> Counts:
        """The sum of the rows."""
        return _sum(row.counts for row in self.rows)


def _sum(counts: Iterable[Counts]) -> Counts:
    columns = zip(*(dataclasses.astuple(each) for each in counts), strict=True)
    return Counts(*map(sum, columns))


def summarize(module: nn.Module, image_size: tuple[int, int], batch_size: int = 1) -> Summary:
    """Counts what a network has and costs.

    Args:
        module: takes images ``[B, H, W, 3]``: a detector, folded or not, or a module of one's own.
        image_size: (H, W) in pixels.
        batch_size: B.

    Returns:
        ``Summary``, one row for each module two levels down that has parameters.

    Raises:
        InputError: the network does not take images of that size.
    """
    outputs: dict[str, tuple[int, ...]] = {}
    found: list[tuple[str, Counts]] = []

    def record(call, args, kwargs, context):
        y = call(*args, **kwargs)
        module, path = context.module, context.module.path
        if context.method_name == "__call__" and 0 < len(path) <= DEPTH:
            outputs["/".join(path)] = jax.tree.leaves(y)[0].shape
        if context.method_name == "__call__" and isinstance(module, nn.Conv):
            found.append((_row_name(path), _convolution(module, args[0], y)))
        return y

    input_shape = (batch_size, *image_size, 3)
    key = jax.eval_shape(lambda: jax.random.key(0))
    images = jax.ShapeDtypeStruct(input_shape, jnp.float32)
    with nn.intercept_methods(record):
        params = jax.eval_shape(module.init, key, images)["params"]
    implicit = select(params, IMPLICIT)
    for path, leaf in flatten_by_path(params).items():
        counts = Counts(leaf.size, leaf.size if path in implicit else 0)
        found.append((_row_name(path.split("/")[:-1]), counts))
    order = list(outputs)
    names = sorted({name for name, _ in found}, key=order.index)
    rows = [
        Row(name, outputs[name], _sum(counts for row, counts in found if row == name))
        for name in names
    ]
    return Summary(input_shape, tuple(rows))


def _row_name(path: Iterable[str]) -> str:
    return "/".join(itertools.islice(path, DEPTH))


def _convolution(conv: nn.Conv, x: jax.Array, y: jax.Array) -> Counts:
    """What a convolution of x ``[B, H, W, C]`` to y ``[B, h, w, F]`` costs."""
    terms = math.prod(conv.kernel_size) * x.shape[-1] // conv.feature_group_count
    return Counts(flops=2 * terms * y.size, activation_bytes=y.size * y.dtype.itemsize)


def format_summary(summary: Summary) -> str:
    """A table for the terminal: the stages under their parts, such as ``backbone``, and the total.

    Output shapes are those of one image, ``h x w x C``; activations those of the whole batch.
    """
    total = summary.total
    heading = ("stage", "output", "parameters", "implicit", "GFLOPs", "%", "activations")
    lines = [heading]
    for part, rows in itertools.groupby(summary.rows, lambda row: row.name.split("/")[0]):
        rows = list(rows)
        lines.append(_line(part, (), _sum(row.counts for row in rows), total))
        for row in rows:
            name = row.name.removeprefix(f"{part}/")
            lines.append(_line(f"  {name}", row.output_shape, row.counts, total))
    lines.append(_line("total", (), total, total))
    table = text_table(lines).split("\n")
    rule = "-" * len(table[0])
    return "\n".join([table[0], rule, *table[1:-1], rule, table[-1]])


def _line(name: str, shape: tuple[int, ...], counts: Counts, total: Counts) -> tuple[str, ...]:
    return (
        name,
        " x ".join(map(str, shape[1:])),
        f"{counts.parameters:,}",
        f"{counts.implicit_parameters:,}" if counts.implicit_parameters else "-",
        f"{counts.flops / 1e9:,.3f}",
        f"{100 * counts.flops / max(total.flops, 1):.1f}",
        f"{counts.activation_bytes / 2**20:,.1f} MiB",
    )


def as_dict(summary: Summary) -> dict[str, Any]:
    """The summary for JSON: shapes as lists, counts as whole numbers, stages by row."""
    rows = [
        {"name": row.name, "output_shape": list(row.output_shape)} | _count_dict(row.counts)
        for row in summary.rows
    ]
    return {
        "input_shape": list(summary.input_shape),
        "total": _count_dict(summary.total),
        "rows": rows,
    }


def _count_dict(counts: Counts) -> dict[str, int | float]:
    return dataclasses.asdict(counts) | {"implicit_percent": counts.implicit_percent}
