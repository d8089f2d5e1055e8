"""Show the stages of a model: shapes, parameters, FLOPs, activations.

Counted from shapes alone, so that the largest model takes seconds and no memory for its weights.
FLOPs are two for each multiply-add of a convolution; activations are the outputs of the
convolutions. GFLOPs and activations are those of the whole batch.

    yolor summary yolor_csp
    yolor summary yolor_p6 --image-size 768 1280 --folded
    yolor summary yolov4_csp_fast --implicit '{"alignment": "add", "refinement": "multiply"}'
    yolor summary yolov4_csp --tasks classify embed --implicit '{"branch": "add"}'
"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.models.detector import Detector
    from yolor_jax.models.summary import Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor summary``."""
    parser.add_argument("model", metavar="MODEL", help="a name of the zoo, such as yolor_csp")
    parser.add_argument(
        "--image-size",
        "--image_size",
        type=int,
        nargs="+",
        metavar="N",
        help="pixels: one side of a square, or height and width "
        "(640; 1280 for a model with a stride above 32)",
    )
    parser.add_argument("--classes", type=int, default=80, help="classes (%(default)s)")
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


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor summary`` and returns 0.

    Raises:
        InputError: no such model or implicit knowledge, or a size that does not fit.
    """
    from yolor_jax.models.summary import as_dict, format_summary, summarize

    implicit = _implicit(args.implicit)
    module = _detector(args, implicit)
    summary = summarize(module, _image_size(args, module), args.batch_size)
    if args.json:
        settings = {
            "model": args.model,
            "classes": args.classes,
            "strides": module.spec.strides,
            "implicit": implicit,  # null: the model's own
            "tasks": args.tasks,
            "folded": args.folded,
            "activation_dtype": "bfloat16" if args.bfloat16 else "float32",
        }
        print(json.dumps(settings | as_dict(summary), indent=1))
    else:
        print(_title(args, module, summary), format_summary(summary), sep="\n\n")
        print(_footer(args, summary))
    return 0


def _detector(args: argparse.Namespace, implicit: dict[str, Any] | None) -> "Detector":
    """The network that the arguments describe."""
    import jax.numpy as jnp

    from yolor_jax.models.detector import build, find_spec
    from yolor_jax.models.spec import with_implicit, with_tasks

    for name, value in (("classes", args.classes), ("batch-size", args.batch_size)):
        if value < 1:
            raise InputError(f"--{name} is {value}; expected at least 1")
    spec = with_implicit(with_tasks(find_spec(args.model), args.tasks), implicit)
    dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
    return build(spec, args.classes, dtype=dtype, fused=args.folded)


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


def _image_size(args: argparse.Namespace, module: "Detector") -> tuple[int, int]:
    """Height and width: of ``--image-size``, or what models of these strides are trained at."""
    match args.image_size:
        case None:
            return module.spec.image_size, module.spec.image_size
        case [side]:
            return side, side
        case [height, width]:
            return height, width
    raise InputError(
        f"--image-size has {len(args.image_size)} numbers; expected one side, or height and width"
    )


def _title(args: argparse.Namespace, module: "Detector", summary: "Summary") -> str:
    """What the table is of."""
    batch, height, width, _ = summary.input_shape
    facts = [
        f"{args.classes} classes",
        f"{height} x {width} pixels",
        f"strides {' '.join(map(str, module.spec.strides))}",
        f"activations in {'bfloat16' if args.bfloat16 else 'float32'}",
    ]
    if args.tasks:
        facts.append(f"tasks detect {' '.join(args.tasks)}")
    if batch > 1:
        facts.append(f"batch of {batch}")
    return f"{args.model}{', folded' if args.folded else ''}: {', '.join(facts)}"


def _footer(args: argparse.Namespace, summary: "Summary") -> str:
    """The weights and the share of implicit knowledge in a sentence, and what to type next."""
    total = summary.total
    batch, height, width, _ = summary.input_shape
    return (
        f"\n{total.parameters:,} parameters, {4 * total.parameters / 2**20:,.1f} MiB in float32; "
        f"{total.implicit_parameters:,} of them implicit ({total.implicit_percent:.4f} %)\n"
        f"Measure {args.model} on this machine:\n"
        f"  yolor bench model {args.model} --image-size {max(height, width)} --batch-size {batch}"
    )
