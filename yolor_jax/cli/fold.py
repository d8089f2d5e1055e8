"""Fold a network: implicit knowledge and batch norm become part of its convolutions.

Writes the folded network to one file and says what it saves: parameters, FLOPs, and the operations
of the program that the compiler makes of it. What is left out of the network is constant at
inference, so that the outputs are the same but for rounding; the largest difference on a random
image is measured.

    yolor fold runs/quickstart folded.safetensors --explain
    yolor detect photos/ --checkpoint folded.safetensors
"""

import argparse
import shlex
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import add_knowledge_argument, add_step_argument, any_path
from yolor_jax.cli.output import weights_file
from yolor_jax.errors import InputError
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.runs.trained import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor fold``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="CHECKPOINT", help="workdir of a run, or a file"
    )
    parser.add_argument(
        "output", type=any_path, metavar="OUTPUT", help="the file to write, .safetensors"
    )
    add_step_argument(parser)
    add_knowledge_argument(parser)
    parser.add_argument("--explain", action="store_true", help="list every rule that was applied")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor fold`` and returns 0.

    Raises:
        InputError: no such checkpoint, one that is folded already, or an output that exists.
    """
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.models.fold import explain, format_rules
    from yolor_jax.runs.opening import load
    from yolor_jax.weights.store import save_variables

    quiet_libraries()
    use_compilation_cache()
    output = weights_file(args.output, overwrite=args.overwrite)
    if output.resolve() == args.checkpoint.resolve():
        raise InputError(
            "OUTPUT is the checkpoint itself, and a fold cannot be undone; choose another name"
        )
    checkpoint = load(args.checkpoint, args.step, knowledge=args.knowledge)
    folded = checkpoint.folded()
    if args.explain:
        print(format_rules(explain(checkpoint.spec, checkpoint.variables)), end="\n\n")
    save_variables(output, folded.variables, folded.meta)
    print(_report(checkpoint, folded))
    print("\nfind objects with it: yolor detect IMAGE... --checkpoint", shlex.quote(str(output)))
    return 0


def _report(trained: "Trained", folded: "Trained") -> str:
    """The table before and after, and the difference of the logits."""
    import numpy as np

    from yolor_jax.models.compiled import measure

    image_size = trained.image_size
    before = measure(trained.module, trained.variables, image_size)
    after = measure(folded.module, folded.variables, image_size)
    pairs = list(zip(before.logits, after.logits, strict=True))
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    largest = max(float(np.abs(a).max()) for a, _ in pairs)
    rows = [
        ("", "trained", "folded"),
        ("parameters", f"{before.parameters:,}", f"{after.parameters:,}"),
        ("running statistics", f"{before.statistics:,}", f"{after.statistics:,}"),
        (
            f"convolution GFLOPs at {image_size} px",
            f"{before.flops / 1e9:,.3f}",
            f"{after.flops / 1e9:,.3f}",
        ),
        ("operations when compiled", f"{before.operations:,}", f"{after.operations:,}"),
    ]
    said = f"largest difference of the logits on a random image: {difference:.1e} of {largest:.1f}"
    return "\n".join([text_table(rows), said])
