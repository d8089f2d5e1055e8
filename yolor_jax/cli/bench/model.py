"""Measure a model on this machine: compile time, speed and memory.

Six programs are compiled and timed in turn, round after round, so that a busy machine slows all of
them alike: the training step; prediction with the trained network, and with the folded one; of the
latter the network alone; crowded, with NMS among up to 30,000 candidates that lie everywhere; and
NMS alone where as many crowd around 20 objects. Weights and images are random, and images are not
augmented (``yolor bench data`` times that apart); decoding and NMS are part of prediction.

    yolor bench model yolor_nano --image-size 128 --batch-size 32 --classes 6
"""

import argparse
from typing import Any

from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.errors import InputError
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench model``."""
    parser.add_argument("model", metavar="MODEL", help="a name of the zoo, such as yolor_csp")
    parser.add_argument("--image-size", type=int, default=640, help="pixels (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images (%(default)s)")
    parser.add_argument("--classes", type=int, default=80, help="classes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="timed rounds (%(default)s)")
    parser.add_argument("--bfloat16", action="store_true", help="activations in bfloat16")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench model`` and returns 0.

    Raises:
        InputError: there is no such model, or it takes no such images.
    """
    import jax

    from yolor_jax.bench.model import Trial, measure

    save = figures_writer(args.json)
    if args.rounds < 1:
        raise InputError(f"--rounds is {args.rounds}; expected at least 1")
    trial = Trial(**{name: getattr(args, name) for name in Trial._fields})
    rows = measure(trial, args.rounds)
    print(_table(args, jax.devices()[0].device_kind, rows))
    save({"settings": trial._asdict() | {"rounds": args.rounds}, "programs": rows})
    return 0


def _table(args: argparse.Namespace, device: str, rows: list[dict[str, Any]]) -> str:
    said = (
        f"{args.model}, {args.image_size} pixels, batches of {args.batch_size}, on {device}; "
        f"medians of {args.rounds} rounds; time as a multiple of that of predict"
    )
    cells = [("", "compile s", "batches/s", "images/s", "time", "MiB")]
    for row in rows:
        cells.append(
            (
                row["program"],
                f"{row['compile_seconds']:.1f}",
                f"{row['batches_per_second']:.2f}",
                f"{row['images_per_second']:.1f}",
                f"{row['time_to_predict']:.2f}",
                f"{row['memory_mib']:.0f}",
            )
        )
    return f"{said}\n{text_table(cells)}"
