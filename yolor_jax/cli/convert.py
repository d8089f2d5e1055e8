"""Convert weights: PyTorch, safetensors and darknet files in and out.

INPUT is a PyTorch checkpoint of the original (.pt, read without torch and without running anything
in it), its state dict as .safetensors, a darknet .weights file of a YOLOv4 model, a file that this
command wrote, one on the Hugging Face Hub (hf://ORG/NAME, @REVISION, /FILE), or the workdir of a
training run, whose moving average is taken. What it is shows in its content. OUTPUT is a
.safetensors file for `yolor detect`, or with --to torch the state dict of the original, to the bit.

    yolor convert yolor_p6.pt p6.safetensors
    yolor convert runs/first first.safetensors --to torch
    yolor convert yolor_p6.pt p6.safetensors --verify reference.npz

--verify compares with outputs of the original before anything is written: an .npz file with
images [B, 3, H, W] in 0..1, the logits level0, level1 ... [B, anchors, h, w, 5 + classes] and, if
wanted, decoded [B, N, 5 + classes]. docs/weights.md has the lines of PyTorch that make one.
"""

import argparse
import json
import shlex
import sys
import time
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import add_step_argument, any_path, local_path, network_path
from yolor_jax.cli.output import weights_file
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.runs.conversion import Converted
    from yolor_jax.runs.trained import Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor convert``."""
    parser.add_argument(
        "input",
        type=network_path,
        metavar="INPUT",
        help="weights, workdir of a run, or hf://ORG/NAME",
    )
    parser.add_argument(
        "output", type=any_path, metavar="OUTPUT", help="file to write, .safetensors"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="a name of the zoo (the only one that fits the input)"
    )
    parser.add_argument(
        "--to",
        choices=("yolor", "torch"),
        default="yolor",
        help="our own names and layout, or the original's (%(default)s)",
    )
    add_step_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.add_argument(
        "--classes", type=int, metavar="K", help="classes of a darknet file (80); others say it"
    )
    parser.add_argument(
        "--class-names",
        type=local_path,
        metavar="FILE",
        help="one name a line (COCO's for 80 classes)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="side that detection uses, in pixels (640; 1280 for a model with a stride above 32)",
    )
    parser.add_argument(
        "--verify",
        type=local_path,
        metavar="FILE",
        help=".npz with outputs of the original; exit code 1 if far",
    )
    parser.add_argument(
        "--tolerance",
        type=_positive,
        default=1e-4,
        metavar="X",
        help="how far a logit may be from the original's (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor convert``.

    Returns:
        0; or 1 if the outputs are not within the tolerance of the original's: nothing is written.

    Raises:
        InputError: the input cannot be used, or the output cannot be written.
    """
    from yolor_jax.cli.launch import quiet_libraries
    from yolor_jax.runs.conversion import Asked, read, write_torch
    from yolor_jax.weights.store import save_variables

    start = time.perf_counter()
    quiet_libraries()
    weights_file(args.output, overwrite=args.overwrite)
    asked = Asked(args.model, args.step, args.classes, args.class_names, args.image_size)
    converted = read(args.input, asked)
    trained = converted.trained
    print(_description(args, converted), flush=True)
    if args.verify is not None and not _verify(args, trained):
        return 1
    if args.to == "yolor":
        save_variables(args.output, trained.variables, trained.meta)
    else:
        write_torch(args.output, trained)
    seconds = time.perf_counter() - start
    print(f"{args.output} written; {seconds:.1f} s in all. What to type next:\n  {_next(args)}")
    return 0


def _description(args: argparse.Namespace, converted: "Converted") -> str:
    """Two lines about the input."""
    import jax

    meta = converted.trained.meta
    count = sum(leaf.size for leaf in jax.tree.leaves(converted.trained.variables["params"]))
    anchors = f"\nanchors of its own: {meta['anchors']}" if "anchors" in meta else ""
    if anchors and args.to == "torch":
        anchors += "; the original must be built with them"
    return (
        f"{args.input}: {converted.kind}, tensors: {', '.join(converted.dtypes)}\n"
        f"{meta['model']}{', folded' if meta['fused'] else ''}: {meta['num_classes']} classes "
        f"({meta['class_names'][0]} ...), {count:,} parameters, images of {meta['image_size']} "
        f"pixels{anchors}"
    )


def _verify(args: argparse.Namespace, trained: "Trained") -> bool:
    """Prints the certificate; whether all is within the tolerance."""
    from yolor_jax.cli.launch import use_compilation_cache
    from yolor_jax.weights.certificate import certify, format_certificate, read_reference

    if trained.fused:
        raise InputError(f"{args.input} is folded; --verify needs the weights before the fold")
    use_compilation_cache()
    reference = read_reference(args.verify)
    rows = certify(trained.module, trained.variables, reference, args.tolerance)
    print(format_certificate(rows), flush=True)
    wrong = [row for row in rows if not row.ok]
    if wrong:
        worst = max(wrong, key=lambda row: row.excess)
        print(
            f"yolor convert: {args.output} not written: {len(wrong)} of {len(rows)} outputs are "
            f"not within the tolerance of {args.tolerance:g}; farthest is {worst.output}"
            f"{list(worst.worst)} of the {worst.network} network, got {worst.got:.6g}, "
            f"expected {worst.expected:.6g}",
            file=sys.stderr,
        )
    return not wrong


def _next(args: argparse.Namespace) -> str:
    """The command, or in PyTorch the statement, that uses OUTPUT."""
    if args.to == "yolor":
        return f"yolor detect IMAGE... --checkpoint {shlex.quote(str(args.output))}"
    return f"model.load_state_dict(safetensors.torch.load_file({json.dumps(str(args.output))}))"


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"got {text}, expected a number above 0")
    return value
