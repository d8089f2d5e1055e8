"""Measure how fast objects are found in pictures on this machine, and where the time goes.

Reading, letterbox, network, writing of rows and drawing are timed each on its own, one picture
after the other in one thread; then all together, as yolor detect does it: threads read and draw
while the device computes. --scaled-decode is timed beside. Compilation is counted apart.

    yolor bench detect photos/ --checkpoint runs/first
"""

import argparse
import os
from typing import Any

from yolor_jax.cli import launch
from yolor_jax.cli.arguments import add_step_argument, any_path, positive
from yolor_jax.cli.detection_network import batch_size
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.errors import InputError
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench detect``."""
    parser.add_argument("folder", metavar="FOLDER", help="of pictures; they must fit in memory")
    parser.add_argument(
        "--checkpoint", type=any_path, required=True, metavar="PATH",
        help="folder of a training run, or a file of weights",
    )  # fmt: skip
    add_step_argument(parser)
    parser.add_argument("--image-size", type=int, metavar="N", help="pixels (that of the training)")
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="pictures (as yolor detect)"
    )
    parser.add_argument("--threads", type=int, help="that read, and as many that draw (one a core)")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many (%(default)s)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench detect`` and returns 0.

    Raises:
        InputError: the checkpoint or the pictures cannot be used.
    """
    import jax

    from yolor_jax.bench.detection import measure
    from yolor_jax.inference.sources import find
    from yolor_jax.runs.opening import load

    save = figures_writer(args.json)
    launch.quiet_libraries()
    found = find([args.folder])
    files = [file for source in found.sources if not found.films for file in source.files]
    if not files:
        raise InputError("; ".join(found.problems) or f"{args.folder} is no folder of pictures")
    trained = load(args.checkpoint, args.step)
    together = args.batch_size or batch_size(found, args.image_size or trained.image_size)
    predictor, scaled = (
        trained.predictor(
            batch_size=together, image_size=args.image_size, scaled_decode=scaled_decode
        ).predictor
        for scaled_decode in (False, True)
    )
    threads = args.threads or len(os.sched_getaffinity(0))
    figures = measure(
        predictor, scaled, trained.class_names, files, threads=threads, rounds=args.rounds
    )
    setting = {
        "model": trained.meta["model"],
        "image_size": predictor.size[0],
        "batch_size": together,
        "pictures": len(files),
        "threads": threads,
        "device": jax.devices()[0].device_kind,
        "rounds": args.rounds,
    }
    print(_table(setting, figures))
    save({"settings": setting, **figures})
    return 0


def _table(setting: dict[str, Any], figures: dict[str, Any]) -> str:
    s = setting
    title = (
        f"{s['pictures']} pictures, {s['model']}, {s['image_size']} pixels, batches of "
        f"{s['batch_size']}, {s['threads']} threads, on {s['device']}; medians of "
        f"{s['rounds']} rounds"
    )
    parts = [("a picture, by itself", "ms", "CPU ms")]
    parts += [
        (name, f"{p['ms']:.2f}", f"{p['cpu_ms']:.2f}") for name, p in figures["parts"].items()
    ]
    total = sum(part["ms"] for part in figures["parts"].values())
    parts.append(("in all", f"{total:.2f}", ""))
    scaled = figures["read_scaled"]
    parts.append(("read --scaled-decode", f"{scaled['ms']:.2f}", f"{scaled['cpu_ms']:.2f}"))
    wholes = [("together", "pictures/s", "network at work")]
    wholes += [
        (f"--pictures {name}", f"{w['pictures_per_second']:.1f}", f"{w['busy']:.0%}")
        for name, w in figures["whole"].items()
    ]
    compiled = f"compiled in {figures['compile_seconds']:.1f} s"
    return "\n".join([title, text_table(parts), text_table(wholes), compiled])
