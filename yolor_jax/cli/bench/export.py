"""Measure each runtime that a network can be exported to, in turn, on the same cores.

Timed is the folded network from images to all decoded boxes, without NMS: ours by XLA, the
StableHLO file, the ONNX file by onnxruntime in float32 and int8, and PyTorch where it is installed.
What is float32 must first give the same boxes. Weights and images are random. Needs the extras
``onnx`` and ``export``.

    yolor bench export --model yolor_nano --image-size 128 --batch-size 8 --threads 1
"""

import argparse
from typing import Any

from yolor_jax.cli.arguments import add_trial_arguments, require_trial
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench export``."""
    add_trial_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench export`` and returns 0.

    Raises:
        InputError: there is no such model, or a number that cannot be.
        ImportError: the library of a format is not installed.
    """
    from yolor_jax.runs.export_speed import measure
    from yolor_jax.runs.in_turn import take_cores
    from yolor_jax.runs.model_speed import Trial

    save = figures_writer(args.json)
    require_trial(args)
    take_cores(args.threads)
    trial = Trial(args.model, args.image_size, args.batch_size, args.classes)
    figures = measure(trial, args.rounds)
    print(_table(args, figures))
    settings = trial._asdict() | {"rounds": args.rounds, "threads": args.threads}
    save({"settings": settings, **figures})
    return 0


def _table(args: argparse.Namespace, figures: dict[str, Any]) -> str:
    title = (
        f"{args.model}, {args.image_size} pixels, batches of {args.batch_size}, {args.threads} "
        f"threads; medians of {args.rounds} rounds, and our time by that of each"
    )
    rows = [("", "ms", "images/s", "ratio", "MB")]
    for name, seconds in figures["seconds"].items():
        ratio, size = figures["ratios"].get(name), figures["megabytes"].get(name)
        rows.append(
            (
                name,
                f"{1e3 * seconds:.1f}",
                f"{args.batch_size / seconds:.1f}",
                "" if ratio is None else f"{ratio:.2f}",
                "" if size is None else f"{size:.1f}",
            )
        )
    return f"{title}\n{text_table(rows)}"
