"""Show the stages of a model: shapes, parameters, FLOPs, activations.

Counted from shapes alone, so that the largest model takes seconds and no memory for its weights.
FLOPs are two for each multiply-add of a convolution; activations are the outputs of the
convolutions. GFLOPs and activations are those of the whole batch. Of a run, or of a file of
weights, it also says who made it: version, commit, libraries, machine, command, of each start.

    yolor summary yolor_csp
    yolor summary yolor_p6 --image-size 768 1280 --folded
    yolor summary yolov4_csp_fast --implicit '{"alignment": "add", "refinement": "multiply"}'
    yolor summary yolov4_csp --tasks classify embed --implicit '{"branch": "add"}'
    yolor summary runs/quickstart
"""

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from yolor_jax.cli.arguments import add_step_argument, any_path
from yolor_jax.errors import InputError
from yolor_jax.stamp import STAMPS, Stamp, described
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.models.detector import Detector
    from yolor_jax.models.spec import ModelSpec
    from yolor_jax.models.summary import Summary

COCO_CLASSES = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor summary``."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a name of the zoo, such as yolor_csp; workdir of a run; a file of weights",
    )
    add_step_argument(parser)
    parser.add_argument(
        "--image-size",
        "--image_size",
        type=int,
        nargs="+",
        metavar="N",
        help="pixels: one side of a square, or height and width "
        "(that of the run; 640; 1280 for a model with a stride above 32)",
    )
    parser.add_argument("--classes", type=int, help="classes (those of the run; 80)")
    parser.add_argument("--batch-size", type=int, default=1, help="images (%(default)s)")
    parser.add_argument("--bfloat16", action="store_true", help="activations in bfloat16")
    parser.add_argument(
        "--folded",
        action="store_true",
        help="with implicit knowledge and batch norm merged into the convolutions",
    )
    parser.add_argument(
        "--implicit",
        metavar="JSON",
        help="implicit knowledge by place, in the place of the model's own; {} for none",
    )
    parser.add_argument(
        "--tasks", nargs="+", default=[], metavar="TASK", help="beyond detection: classify, embed"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


class Network(NamedTuple):
    """What the table is of.

    Attributes:
        spec: its model.
        classes: their number K.
        image_size: side in pixels that it was trained for; None of a model of the zoo.
        folded: whether it is.
        implicit: the description of its implicit knowledge; None for the model's own.
        tasks: beyond detection.
        stamps: of who made it, oldest first; None of a model of the zoo.
    """

    spec: "ModelSpec"
    classes: int
    image_size: int | None
    folded: bool
    implicit: dict[str, Any] | None
    tasks: Sequence[str]
    stamps: list[Stamp] | None


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor summary`` and returns 0.

    Raises:
        InputError: no such model, run or implicit knowledge, or a size that does not fit.
        OSError: the run has no checkpoint.
    """
    from yolor_jax.models.summary import as_dict, format_summary, summarize
    from yolor_jax.models.zoo import MODELS

    # The zoo comes first: a folder that is called like a model of it is ./yolor_csp
    is_saved = args.model not in MODELS and (os.sep in args.model or os.path.exists(args.model))
    network = _saved(args) if is_saved else _of_zoo(args)
    module = _detector(args, network)
    summary = summarize(module, _image_size(args, network), args.batch_size)
    if args.json:
        settings = {
            "model": network.spec.name,
            "classes": network.classes,
            "strides": module.spec.strides,
            "implicit": network.implicit,  # null: the model's own
            "tasks": network.tasks,
            "folded": network.folded,
            "activation_dtype": "bfloat16" if args.bfloat16 else "float32",
        }
        if network.stamps is not None:
            settings |= {"checkpoint": args.model, STAMPS: network.stamps}
        print(json.dumps(settings | as_dict(summary), indent=1))
        return 0
    print(_title(args, network, summary), format_summary(summary), sep="\n\n")
    print(_footer(network, summary))
    if network.stamps is not None:
        print(f"\n{_made_by(args.model, network.stamps)}")
    return 0


def _of_zoo(args: argparse.Namespace) -> Network:
    """The network that the arguments describe."""
    from yolor_jax.models.detector import find_spec
    from yolor_jax.models.spec import with_implicit, with_tasks

    if args.step is not None:
        raise InputError(f"--step is of a run, and {args.model} is a model of the zoo")
    implicit = _implicit(args.implicit)
    spec = with_implicit(with_tasks(find_spec(args.model), args.tasks), implicit)
    classes = COCO_CLASSES if args.classes is None else args.classes
    return Network(spec, classes, None, args.folded, implicit, args.tasks, None)


def _saved(args: argparse.Namespace) -> Network:
    """The network of a run or of a file of weights."""
    from yolor_jax.runs import stamps
    from yolor_jax.runs.opening import load_meta
    from yolor_jax.runs.trained import spec_of

    for name in ("classes", "implicit", "tasks"):
        if getattr(args, name):
            raise InputError(f"--{name} is for a model of the zoo; {args.model} has its own")
    path = any_path(args.model)
    meta = load_meta(path, args.step)
    return Network(
        spec=spec_of(meta),
        classes=meta["num_classes"],
        image_size=meta["image_size"],
        folded=args.folded or meta.get("fused", False),
        implicit=meta["implicit"],
        tasks=meta.get("tasks", []),
        # Of a run, those of its folder: it may have started again since the checkpoint.
        stamps=stamps.read(path) or meta.get(STAMPS, []),
    )


def _made_by(name: str, stamps: Sequence[Stamp]) -> str:
    """Who made a network: a table for each stamp."""
    if not stamps:
        return f"{name} does not say who made it: it is from before there were stamps"
    tables = [text_table(described(one), left=(0, 1)) for one in stamps]
    starts = f", in {len(stamps)} steps" * (len(stamps) > 1)
    return "\n\n".join([f"{name} was made by{starts}", *tables])


def _detector(args: argparse.Namespace, network: Network) -> "Detector":
    """The module of a network."""
    import jax.numpy as jnp

    from yolor_jax.models.detector import build

    for name, value in (("classes", network.classes), ("batch-size", args.batch_size)):
        if value < 1:
            raise InputError(f"--{name} is {value}; expected at least 1")
    dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
    return build(network.spec, network.classes, dtype=dtype, fused=network.folded)


def _implicit(text: str | None) -> dict[str, Any] | None:
    """The description of implicit knowledge in ``--implicit``, or None."""
    if text is None:
        return None
    expected = """expected a JSON object such as '{"alignment": "add"}'"""
    try:
        description = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"--implicit is {text!r}, which is no JSON ({error}); {expected}"
        ) from error
    if not isinstance(description, dict):
        raise InputError(f"--implicit is {text!r}; {expected}")
    return description


def _image_size(args: argparse.Namespace, network: Network) -> tuple[int, int]:
    """Height and width: of ``--image-size``, or what the network or such models are trained at."""
    match args.image_size:
        case None:
            side = network.image_size or network.spec.image_size
            return side, side
        case [side]:
            return side, side
        case [height, width]:
            return height, width
    raise InputError(
        f"--image-size has {len(args.image_size)} numbers; expected one side, or height and width"
    )


def _title(args: argparse.Namespace, network: Network, summary: "Summary") -> str:
    """What the table is of."""
    batch, height, width, _ = summary.input_shape
    facts = [
        f"{network.classes} classes",
        f"{height} x {width} pixels",
        f"strides {' '.join(map(str, network.spec.strides))}",
        f"activations in {'bfloat16' if args.bfloat16 else 'float32'}",
    ]
    if network.tasks:
        facts.append(f"tasks detect {' '.join(network.tasks)}")
    if batch > 1:
        facts.append(f"batch of {batch}")
    name = args.model if network.stamps is None else f"{args.model}: {network.spec.name}"
    return f"{name}{', folded' if network.folded else ''}: {', '.join(facts)}"


def _footer(network: Network, summary: "Summary") -> str:
    """The weights and the share of implicit knowledge in a sentence, and what to type next."""
    total = summary.total
    batch, height, width, _ = summary.input_shape
    model = network.spec.name
    return (
        f"\n{total.parameters:,} parameters, {4 * total.parameters / 2**20:,.1f} MiB in float32; "
        f"{total.implicit_parameters:,} of them implicit ({total.implicit_percent:.4f} %)\n"
        f"Measure {model} on this machine:\n"
        f"  yolor bench model {model} --image-size {max(height, width)} --batch-size {batch}"
    )
