"""Measure how long COCO's numbers take, by each library that is installed, and the analysis.

Boxes are drawn: seven objects an image in the mean, and detections around them. All are timed in
turn, round after round. Times of CPU count on a busy machine.

    yolor bench metrics                         # the size of COCO's val2017
    yolor bench metrics --images 500 --rounds 5
"""

import argparse
import os
from typing import Any

from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench metrics``."""
    parser.add_argument("--images", type=int, default=5000, help="images (%(default)s)")
    parser.add_argument("--detections", type=int, default=100, help="in each (%(default)s)")
    parser.add_argument("--classes", type=int, default=80, help="classes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many (%(default)s)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench metrics`` and returns 0.

    Raises:
        InputError: a number is below one.
    """
    from yolor_jax.bench.metrics import Trial, measure

    save = figures_writer(args.json)
    trial = Trial(**{name: getattr(args, name) for name in Trial._fields})
    rows = measure(trial, args.rounds)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{trial.images} images with {trial.detections} detections each, {trial.classes} classes; "
        f"{cores} core{'s' * (cores > 1)}; medians of {args.rounds} rounds"
    )
    print(_table(rows))
    save({"settings": trial._asdict() | {"rounds": args.rounds, "cores": cores}, "programs": rows})
    return 0


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [("", "seconds", "CPU seconds")]
    cells += [
        (row["program"], f"{row['seconds']:.2f}", f"{row['cpu_seconds']:.2f}") for row in rows
    ]
    return text_table(cells)
