"""Measure how many images per second the host gives to the training step.

The host part of training (read, decode, letterbox, batch) is compared with a loader of the
original's kind, which makes each training image out of four on the host: both on one core, in turn,
on the same images, and with JPEGs decoded at a half, a quarter or an eighth of their sides where
the letterbox takes no more (config.data.scaled_decode). Then the host part runs on all cores. What
the host part leaves to the device, the augmentation, is timed apart. Times of CPU count on a busy
machine.

    yolor bench data                            # the built-in shapes
    yolor bench data data/coco --threads 8
"""

import argparse
import os
import pathlib
from typing import Any

from yolor_jax.cli.arguments import local_path
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench data``."""
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="shapes",
        help="COCO-format folder, TFDS directory, or %(default)s",
    )  # fmt: skip
    parser.add_argument("--split", help="of the data (train2017; train of shapes)")
    parser.add_argument(
        "--prepared", metavar="FOLDER", type=local_path, default=pathlib.Path("data/prepared"),
        help="where folders are prepared (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--image-size", type=int, default=640, help="pixels (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="images (%(default)s)")
    parser.add_argument("--threads", type=int, default=16, help="that decode (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes (%(default)s)")
    parser.add_argument("--batches", type=int, default=16, help="of each round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="medians of so many (%(default)s)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench data`` and returns 0.

    Raises:
        InputError: the data cannot be used, or no round be made of the numbers.
    """
    import jax

    from yolor_jax.bench.data import Trial, measure, require
    from yolor_jax.preparation.dataset import open_dataset

    save = figures_writer(args.json)
    trial = Trial(**{name: getattr(args, name) for name in Trial._fields})
    require(trial, args.rounds)
    split = args.split or ("train" if args.path == "shapes" else "train2017")
    source = open_dataset(args.path, split, args.prepared)
    figures = measure(source, trial, args.rounds)
    cores, device = len(os.sched_getaffinity(0)), jax.devices()[0].device_kind
    print(
        f"{len(source)} images of {args.path}, {split}, at {args.image_size} pixels in batches of "
        f"{args.batch_size}; medians of {args.rounds} rounds of {args.batches} batches"
    )
    print(_table(figures, cores, device))
    settings = {"path": args.path, "split": split, "cores": cores, "device": device}
    save({"settings": settings | trial._asdict() | {"rounds": args.rounds}, **figures})
    return 0


def _table(figures: dict[str, Any], cores: int, device: str) -> str:
    names = {
        "mosaic": "mosaic of four, on the host, 1 core",
        "one_core": "host part of training, 1 core",
        "scaled": "the same with scaled decode, 1 core",
        "all_cores": f"host part of training, {cores} core{'s' * (cores > 1)}",
    }
    rows = [("", "images/s", "CPU ms/image")]
    for name, title in names.items():
        row = figures[name]
        cpu = "-" if row["cpu_ms_per_image"] is None else f"{row['cpu_ms_per_image']:.2f}"
        rows.append((title, f"{row['images_per_second']:.1f}", cpu))
    by_cpu = "" if figures["cpu_ratio"] is None else f" ({figures['cpu_ratio']:.2f} by CPU time)"
    augment_ms = figures["device_augmentation_ms_per_image"]
    lines = [
        text_table(rows),
        f"On one core the host part is {figures['ratio']:.2f} times as fast as the mosaic{by_cpu}.",
        f"Augmentation on {device}: {augment_ms:.2f} ms per image.",
    ]
    return "\n".join(lines)
