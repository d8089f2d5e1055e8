"""Convert weights: PyTorch, safetensors and darknet files in and out.

INPUT is a PyTorch checkpoint of the original (.pt, read without torch and without running anything
in it), its state dict as .safetensors, a darknet .weights file of a YOLOv4 model, a file that this
command wrote, or the workdir of a training run, whose moving average is taken. What it is shows in
its content. OUTPUT is a .safetensors file for `yolor detect`, or with --to torch the state dict of
the original, to the bit.

    yolor convert yolor_p6.pt p6.safetensors
    yolor convert runs/first first.safetensors --to torch
    yolor convert yolor_p6.pt p6.safetensors --verify reference.npz

--verify compares with outputs of the original before anything is written: an .npz file with
images [B, 3, H, W] in 0..1, the logits level0, level1 ... [B, anchors, h, w, 5 + classes] and, if
wanted, decoded [B, N, 5 + classes]. The README has the lines of PyTorch that make one.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import shlex
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from yolor_jax.cli.arguments import add_step_argument, any_path, local_path
from yolor_jax.cli.output import weights_file
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from yolor_jax.models.spec import ModelSpec
    from yolor_jax.runs.trained import Trained
    from yolor_jax.weights.recognise import Format


class Weights(NamedTuple):
    """A network, and for the report, what it was read from."""

    checkpoint: "Trained"
    kind: str
    dtypes: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor convert``."""
    parser.add_argument(
        "input", type=any_path, metavar="INPUT", help="file of weights, or workdir of a run"
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

    start = time.perf_counter()
    quiet_libraries()
    weights_file(args.output, overwrite=args.overwrite)
    weights = _read(args)
    print(_description(args, weights), flush=True)
    if args.verify is not None and not _verify(args, weights.checkpoint):
        return 1
    _write(args, weights.checkpoint)
    seconds = time.perf_counter() - start
    print(f"{args.output} written; {seconds:.1f} s in all. What to type next:\n  {_next(args)}")
    return 0


def _read(args: argparse.Namespace) -> Weights:
    """What INPUT holds."""
    from yolor_jax.weights.recognise import Format, recognise

    if args.input.is_dir():
        return _of_ours(args, "moving average of a run")
    kind = recognise(args.input)
    return _of_ours(args, kind.value) if kind is Format.OURS else _of_the_original(args, kind)


def _of_ours(args: argparse.Namespace, kind: str) -> Weights:
    """Variables of our own, checked against the model that they say they are of."""
    from yolor_jax.models.detector import variable_shapes
    from yolor_jax.runs.trained import load
    from yolor_jax.trees import differences, flatten_by_path

    checkpoint = load(args.input, args.step)
    model = checkpoint.meta["model"]
    if args.model not in (None, model):
        raise InputError(f"{args.input} is of {model}; leave out --model {args.model}")
    wrong = differences(checkpoint.variables, variable_shapes(checkpoint.module))
    if wrong:
        raise InputError(
            f"{args.input} does not hold what {model} needs, {len(wrong)} differences:\n  "
            + "\n  ".join(wrong)
        )
    meta = _meta(args, checkpoint.spec, {"fused": False, **checkpoint.meta})
    dtypes = _dtypes(flatten_by_path(checkpoint.variables))
    return Weights(dataclasses.replace(checkpoint, meta=meta), kind, dtypes)


def _of_the_original(args: argparse.Namespace, kind: "Format") -> Weights:
    """Tensors with the original's names, or without names, as variables of their model."""
    from yolor_jax.models.detector import find_spec
    from yolor_jax.runs.trained import Trained
    from yolor_jax.trees import require_finite
    from yolor_jax.weights.convert import COUNTERS, from_torch
    from yolor_jax.weights.recognise import Format, find_darknet_model, find_model, read_darknet_of
    from yolor_jax.weights.safetensors_file import read_safetensors
    from yolor_jax.weights.torch_file import read_torch

    spec = None if args.model is None else find_spec(args.model)
    if kind is Format.DARKNET:
        classes = 80 if args.classes is None else args.classes
        if classes < 1:
            raise InputError(f"--classes is {classes}; expected at least 1")
        spec = spec or find_darknet_model(args.input, classes)
        tensors = read_darknet_of(args.input, spec, classes)
    else:
        reader = read_torch if kind is Format.TORCH else read_safetensors
        tensors = reader(args.input)
        spec = spec or find_model(tensors)
    variables, num_classes = from_torch(spec, tensors)
    require_finite(tensors, str(args.input))
    meta = {"model": spec.name, "implicit": None, "num_classes": num_classes, "fused": False}
    used = {name: array for name, array in tensors.items() if not name.endswith(COUNTERS)}
    checkpoint = Trained(spec, variables, _meta(args, spec, meta))
    return Weights(checkpoint, kind.value, _dtypes(used))


def _meta(args: argparse.Namespace, spec: "ModelSpec", known: Mapping[str, Any]) -> dict[str, Any]:
    """What `store` writes beside the variables: what is known, what was asked for, and defaults."""
    from yolor_jax.data.classes import COCO_NAMES
    from yolor_jax.models.detector import require_multiple

    num_classes = known["num_classes"]
    if args.classes not in (None, num_classes):
        raise InputError(
            f"{args.input} is of {num_classes} classes; leave out --classes {args.classes}"
        )
    names = list(COCO_NAMES) if num_classes == 80 else [f"class{i}" for i in range(num_classes)]
    meta = {"class_names": names, "image_size": spec.image_size, **known}
    if args.class_names is not None:
        meta["class_names"] = _class_names(args.class_names, num_classes)
    if args.image_size is not None:
        require_multiple((args.image_size,), spec.strides[-1])
        meta["image_size"] = args.image_size
    return meta


def _class_names(path: pathlib.Path, num_classes: int) -> list[str]:
    """The lines of a file, one for each class."""
    try:
        names = path.read_text(encoding="utf-8").strip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from error
    names = [name.strip() for name in names]
    if len(names) != num_classes or len(set(names)) != num_classes or "" in names:
        raise InputError(
            f"{path} has {len(names)} lines with {len(set(names) - {''})} different names; "
            f"expected one name a line for {num_classes} classes"
        )
    return names


def _dtypes(leaves: Mapping[str, "np.ndarray"]) -> list[str]:
    """For the report, ``576 float16`` and so on, the most frequent first."""
    counts = collections.Counter(str(leaf.dtype) for leaf in leaves.values())
    return [f"{number} {dtype}" for dtype, number in counts.most_common()]


def _description(args: argparse.Namespace, weights: Weights) -> str:
    """Two lines about the input."""
    import jax

    meta = weights.checkpoint.meta
    count = sum(leaf.size for leaf in jax.tree.leaves(weights.checkpoint.variables["params"]))
    anchors = f"\nanchors of its own: {meta['anchors']}" if "anchors" in meta else ""
    if anchors and args.to == "torch":
        anchors += "; the original must be built with them"
    return (
        f"{args.input}: {weights.kind}, tensors: {', '.join(weights.dtypes)}\n"
        f"{meta['model']}{', folded' if meta['fused'] else ''}: {meta['num_classes']} classes "
        f"({meta['class_names'][0]} ...), {count:,} parameters, images of {meta['image_size']} "
        f"pixels{anchors}"
    )


def _verify(args: argparse.Namespace, checkpoint: "Trained") -> bool:
    """Prints the certificate; whether all is within the tolerance."""
    from yolor_jax.cli.launch import use_compilation_cache
    from yolor_jax.weights.certificate import certify, format_certificate, read_reference

    if checkpoint.fused:
        raise InputError(f"{args.input} is folded; --verify needs the weights before the fold")
    use_compilation_cache()
    reference = read_reference(args.verify)
    rows = certify(checkpoint.module, checkpoint.variables, reference, args.tolerance)
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


def _write(args: argparse.Namespace, checkpoint: "Trained") -> None:
    """Writes OUTPUT, which appears whole or not at all."""
    import safetensors.numpy

    from yolor_jax.weights.convert import to_torch
    from yolor_jax.weights.store import save_variables
    from yolor_jax.whole_file import whole_file

    if args.to == "yolor":
        save_variables(args.output, checkpoint.variables, checkpoint.meta)
        return
    if checkpoint.fused:
        raise InputError(f"{args.input} is folded; the original has no names for such weights")
    tensors = to_torch(checkpoint.spec, checkpoint.variables)
    with whole_file(args.output) as temporary:
        safetensors.numpy.save_file(tensors, temporary)


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
