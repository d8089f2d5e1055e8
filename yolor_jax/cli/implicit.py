"""Show what a network has learnt as implicit knowledge.

A table of every g(z): its place, operator and modelling, how far it has moved from the operator's
neutral element (0 for addition, 1 for multiplication); and, on request, a picture of all of them.

What a run with the recipe implicit_tuning has learnt on other data can be kept beside the network
that it started from, by a name that --knowledge takes.

    yolor implicit runs/quickstart --figure implicit.png
    yolor implicit runs/quickstart --add night=runs/night
    yolor detect IMAGE... --checkpoint runs/quickstart --knowledge night
"""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import add_knowledge_argument, add_step_argument, any_path
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.models.spec import ModelSpec
    from yolor_jax.paths import Path

HEADING = ("implicit knowledge", "operator", "modelling", "g(z)", "leaves", "mean", "std", "moved")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor implicit``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="CHECKPOINT", help="workdir of a run, or a file"
    )
    add_step_argument(parser)
    add_knowledge_argument(parser)
    parser.add_argument(
        "--figure", type=any_path, metavar="FILE", help="draw them there, such as implicit.png"
    )
    parser.add_argument(
        "--add",
        type=_named,
        metavar="NAME=TUNED",
        help="keep the z of a run that was tuned from CHECKPOINT, or of a file, beside it",
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor implicit`` and returns 0.

    Raises:
        InputError: no such checkpoint, none with implicit knowledge, or a z that is not of it.
    """
    from yolor_jax.cli.launch import quiet_libraries
    from yolor_jax.pictures.implicit_figure import draw_implicits
    from yolor_jax.runs.opening import keep_knowledge, knowledge_beside, load

    quiet_libraries()
    if args.add:
        args.knowledge, tuned = args.add
        file = keep_knowledge(args.checkpoint, args.knowledge, load(tuned), args.step)
        print(f"kept as {file}\n")
    checkpoint = load(args.checkpoint, args.step, knowledge=args.knowledge)
    params = checkpoint.variables["params"]
    print(table(checkpoint.spec, params))
    if beside := knowledge_beside(args.checkpoint):
        print(f"\nbeside it, for --knowledge: {', '.join(beside)}")
    if args.figure:
        draw_implicits(args.figure, checkpoint.spec, params, checkpoint.meta["class_names"])
        print(f"\ndrawn in {args.figure}")
    return 0


def _named(text: str) -> "tuple[str, Path]":
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"got {text}, expected NAME=TUNED, such as night=RUN")
    return name, any_path(path)


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
    from yolor_jax.models.implicits import distances, find, no_knowledge, representations
    from yolor_jax.nn.knowledge import SIZE

    found = find(params)
    if not found:
        raise no_knowledge()
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
