"""Measure how many images per second the host gives to the training step.

The host part of training (read, decode, letterbox, batch) is compared with a loader of the
original's kind, which makes each training image out of four on the host: both on one core, in turn,
on the same images. Then the host part runs on all cores. What the host part leaves to the device,
the augmentation, is timed apart. Times of CPU count on a busy machine.

    yolor bench data                            # the built-in shapes
    yolor bench data data/coco --threads 8
"""

import argparse
import contextlib
import math
import os
import pathlib
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from yolor_jax.cli.arguments import local_path
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.errors import InputError
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.data.example import Batch
    from yolor_jax.data.sources import Source

_WARM_UP_MOSAICS = 16


class Speed(NamedTuple):
    """Of one stretch of work.

    Attributes:
        images_per_second: by the clock.
        cpu_ms: milliseconds of CPU time of this process per image; None where others worked too.
    """

    images_per_second: float
    cpu_ms: float | None


class Round(NamedTuple):
    """One measurement of each."""

    mosaic: Speed
    one_core: Speed
    all_cores: Speed


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
    """Runs ``yolor bench data`` and returns 0."""
    from yolor_jax.preparation.dataset import open_dataset

    save = figures_writer(args.json)
    _check(args)
    split = args.split or ("train" if args.path == "shapes" else "train2017")
    source = open_dataset(args.path, split, args.prepared)
    rounds = [_measure(source, args, number) for number in range(args.rounds)]
    device, augment_ms = _augmentation(source, args)
    figures = _figures(rounds, augment_ms)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{len(source)} images of {args.path}, {split}, at {args.image_size} pixels in batches of "
        f"{args.batch_size}; medians of {args.rounds} rounds of {args.batches} batches"
    )
    print(_table(figures, cores, device))
    names = ("image_size", "batch_size", "threads", "workers", "batches", "rounds")
    settings = {"path": args.path, "split": split, "cores": cores, "device": device}
    settings |= {name: getattr(args, name) for name in names}
    save({"settings": settings, **figures})
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises an InputError for a number that no round could be made of."""
    from yolor_jax.augment.config import AugmentConfig

    if args.batch_size < 1 or args.batch_size % AugmentConfig().group:
        raise InputError(
            f"--batch-size is {args.batch_size}; expected a multiple of {AugmentConfig().group}, "
            "the images among which a mosaic finds its partners"
        )
    for name in ("batches", "rounds"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; expected at least 1")
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("this system cannot keep a process on one core; the bench needs Linux")


def _measure(source: "Source", args: argparse.Namespace, number: int) -> Round:
    """One round: our host part, then mosaics that begin with the same images."""
    with _one_core():
        ours, positions = _host_part(source, args, number)
        mosaic = _mosaics(source, positions, args.image_size, number)
    return Round(mosaic, ours, _host_part(source, args, number)[0])


def _host_part(source: "Source", args: argparse.Namespace, number: int) -> tuple[Speed, list[int]]:
    """Speed of `train_batches` once it runs, and the positions of the images that it gave."""
    warm_up = 2 * max(args.workers, 1)  # afterwards no batch is ready that was made before
    batches = _batches(source, args, start=number * args.batches * args.batch_size)
    with contextlib.closing(batches):
        for _ in range(warm_up):
            next(batches)
        clock = _Clock()
        positions = [i for _ in range(args.batches) for i in next(batches).index.tolist()]
        speed = clock.speed(len(positions))
    return (speed._replace(cpu_ms=None) if args.workers else speed), positions


def _batches(source: "Source", args: argparse.Namespace, start: int = 0) -> Iterator["Batch"]:
    from yolor_jax.data.pipeline import Reading, train_batches

    return train_batches(
        source,
        image_size=args.image_size,
        batch_size=args.batch_size,
        max_targets=120,
        seed=0,
        start=start,
        reading=Reading(threads=args.threads, workers=args.workers),
    )


def _mosaics(source: "Source", positions: Sequence[int], side: int, seed: int) -> Speed:
    """Speed of mosaics of the images at ``positions``, each with three partners of the split."""
    import numpy as np

    from yolor_jax.cli.bench.host_mosaic import make_mosaic

    generator = np.random.default_rng(seed)

    def make(position: int) -> None:
        partners = generator.integers(len(source), size=3).tolist()
        make_mosaic(source, [position, *partners], side=side, generator=generator)

    for position in positions[:_WARM_UP_MOSAICS]:  # what was made ahead beside us ends meanwhile
        make(position)
    clock = _Clock()
    for position in positions:
        make(position)
    return clock.speed(len(positions))


def _augmentation(source: "Source", args: argparse.Namespace) -> tuple[str, float]:
    """Name of the device, and the milliseconds that it takes to augment an image of a batch."""
    import functools

    import jax

    from yolor_jax.augment.batch import augment
    from yolor_jax.augment.config import AugmentConfig

    with contextlib.closing(_batches(source, args)) as batches:
        batch = jax.device_put(next(batches))
    config = AugmentConfig(group=math.gcd(args.batch_size, 8))
    step = jax.jit(functools.partial(augment, config=config))
    seconds = []
    for number in range(args.rounds + 1):
        key = jax.random.key(number)
        started = time.perf_counter()
        jax.block_until_ready(step(key, batch))
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[1:])  # the first one compiles
    return jax.devices()[0].device_kind, 1000 * median / args.batch_size


class _Clock:
    """Starts when it is made."""

    def __init__(self):
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def speed(self, images: int) -> Speed:
        """Of so many images since the start."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Speed(images / wall, 1000 * cpu / images)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Keeps all threads of this process, and what they start, on the first core that it may use."""
    before = os.sched_getaffinity(0)
    _pin({min(before)})
    try:
        yield
    finally:
        _pin(before)


def _pin(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread), cores)


def _figures(rounds: list[Round], augment_ms: float) -> dict[str, Any]:
    """Medians over the rounds; ratios are medians of the ratios of each round."""
    figures: dict[str, Any] = {}
    for name in Round._fields:
        speeds = [getattr(round_, name) for round_ in rounds]
        figures[name] = {
            "images_per_second": round(statistics.median(s.images_per_second for s in speeds), 1),
            "cpu_ms_per_image": None
            if speeds[0].cpu_ms is None
            else round(statistics.median(s.cpu_ms for s in speeds), 3),
        }
    ratios = [r.one_core.images_per_second / r.mosaic.images_per_second for r in rounds]
    figures["ratio"] = round(statistics.median(ratios), 2)
    figures["cpu_ratio"] = None
    if rounds[0].one_core.cpu_ms is not None:
        ratios = [r.mosaic.cpu_ms / r.one_core.cpu_ms for r in rounds]
        figures["cpu_ratio"] = round(statistics.median(ratios), 2)
    return figures | {"device_augmentation_ms_per_image": round(augment_ms, 3)}


def _table(figures: dict[str, Any], cores: int, device: str) -> str:
    names = {
        "mosaic": "mosaic of four, on the host, 1 core",
        "one_core": "host part of training, 1 core",
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
