"""Show what a network has learnt as implicit knowledge.

A table of every g(z): its place, operator and modelling, how far it has moved from the operator's
neutral element (0 for addition, 1 for multiplication); and, on request, a picture of all of them.

    yolor implicit runs/quickstart --figure implicit.png
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import add_step_argument, any_path
from yolor_jax.errors import InputError
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.models.spec import ModelSpec

HEADING = ("implicit knowledge", "operator", "modelling", "g(z)", "leaves", "mean", "std", "moved")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor implicit``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="CHECKPOINT", help="workdir of a run, or a file"
    )
    add_step_argument(parser)
    parser.add_argument(
        "--figure", type=any_path, metavar="FILE", help="draw them there, such as implicit.png"
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor implicit`` and returns 0.

    Raises:
        InputError: no such checkpoint, or none with implicit knowledge.
    """
    from yolor_jax.cli.launch import quiet_libraries
    from yolor_jax.pictures.implicit_figure import draw_implicits
    from yolor_jax.runs.trained import load

    quiet_libraries()
    checkpoint = load(args.checkpoint, args.step)
    params = checkpoint.variables["params"]
    print(table(checkpoint.spec, params))
    if args.figure:
        draw_implicits(args.figure, checkpoint.spec, params, checkpoint.meta["class_names"])
        print(f"\ndrawn in {args.figure}")
    return 0


def table(spec: "ModelSpec", params: Mapping) -> str:
    """One line for each implicit module.

    Args:
        spec: the model.
        params: not folded.

    Returns:
        Aligned text. "moved" is the root of the mean squared distance from the neutral element;
        before training it is the ``std`` of the knowledge, 0.02 by default.

    Raises:
        InputError: there is no implicit knowledge in it.
    """
    from yolor_jax.models.implicits import distances, find, representations
    from yolor_jax.nn.knowledge import SIZE

    found = find(params)
    if not found:
        raise InputError(
            "there is no implicit knowledge in this network: it is folded, or its model has none"
        )
    lines, moved = [HEADING], distances(spec, params)
    for path, g in representations(spec, params).items():
        knowledge = spec.knowledge_at(path)
        if knowledge.scope == "size":
            g = g[:, slice(*SIZE)]
        lines.append(
            (
                path,
                knowledge.operator,
                type(knowledge.modelling).__name__.lower(),
                " x ".join(map(str, g.shape)),
                f"{sum(leaf.size for leaf in found[path].values()):,}",
                f"{g.mean():.4f}",
                f"{g.std():.4f}",
                f"{moved[path]:.4f}",
            )
        )
    return text_table(lines, left=range(len(HEADING)))
