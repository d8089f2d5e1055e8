"""How many images per second the host gives to the training step.

    figures = measure(source, Trial(image_size=640, batch_size=16), rounds=5)
    figures["one_core"]["images_per_second"], figures["ratio"]

The host part of training (read, decode, letterbox, batch) is compared with a loader of the
original's kind, which makes each training image out of four on the host: both on one core, in turn,
on the same images; and with JPEGs decoded at a half, a quarter or an eighth of their sides where
the letterbox takes no more (`data.scaled`). Then the host part runs on all cores. What the host
part leaves to the device, the augmentation, is timed apart. Times of CPU count on a busy machine.
"""

import contextlib
import functools
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.bench.host_mosaic import make_mosaic
from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import Reading, train_batches
from yolor_jax.data.sources import Source
from yolor_jax.errors import InputError

_WARM_UP_MOSAICS = 16


class Trial(NamedTuple):
    """What is measured in each round.

    Attributes:
        image_size: pixels.
        batch_size: images.
        threads: that decode, in each process.
        workers: processes; 0: threads of this one.
        batches: of each round.
    """

    image_size: int = 640
    batch_size: int = 16
    threads: int = 16
    workers: int = 0
    batches: int = 16


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
    scaled: Speed
    all_cores: Speed


def require(trial: Trial, rounds: int) -> None:
    """Raises an InputError if no round can be made of these numbers, or not on this system."""
    group = AugmentConfig().group
    if trial.batch_size < 1 or trial.batch_size % group:
        raise InputError(
            f"--batch-size is {trial.batch_size}; expected a multiple of {group}, the images "
            "among which a mosaic finds its partners"
        )
    for name, number in (("batches", trial.batches), ("rounds", rounds)):
        if number < 1:
            raise InputError(f"--{name} is {number}; expected at least 1")
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("this system cannot keep a process on one core; the bench needs Linux")


def measure(source: Source, trial: Trial, rounds: int) -> dict[str, Any]:
    """The figures by name: medians over the rounds, and of ratios those of the ratios of each."""
    measured = [_measure(source, trial, number) for number in range(rounds)]
    return _figures(measured, _augmentation(source, trial, rounds))


def _measure(source: Source, trial: Trial, number: int) -> Round:
    """One round: our host part, then mosaics that begin with the same images."""
    with _one_core():
        ours, positions = _host_part(source, trial, number)
        mosaic = _mosaics(source, positions, trial.image_size, number)
        scaled = _host_part(source, trial, number, scaled_decode=True)[0]
    return Round(mosaic, ours, scaled, _host_part(source, trial, number)[0])


def _host_part(
    source: Source, trial: Trial, number: int, *, scaled_decode: bool = False
) -> tuple[Speed, list[int]]:
    """Speed of `train_batches` once it runs, and the positions of the images that it gave."""
    warm_up = 2 * max(trial.workers, 1)  # afterwards no batch is ready that was made before
    start = number * trial.batches * trial.batch_size
    batches = _batches(source, trial, start=start, scaled_decode=scaled_decode)
    with contextlib.closing(batches):
        for _ in range(warm_up):
            next(batches)
        clock = _Clock()
        positions = [i for _ in range(trial.batches) for i in next(batches).index.tolist()]
        speed = clock.speed(len(positions))
    return (speed._replace(cpu_ms=None) if trial.workers else speed), positions


def _batches(
    source: Source, trial: Trial, *, start: int = 0, scaled_decode: bool = False
) -> Iterator[Batch]:
    return train_batches(
        source,
        image_size=trial.image_size,
        batch_size=trial.batch_size,
        max_targets=120,
        seed=0,
        start=start,
        scaled_decode=scaled_decode,
        reading=Reading(threads=trial.threads, workers=trial.workers),
    )


def _mosaics(source: Source, positions: Sequence[int], side: int, seed: int) -> Speed:
    """Speed of mosaics of the images at ``positions``, each with three partners of the split."""
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


def _augmentation(source: Source, trial: Trial, rounds: int) -> float:
    """The milliseconds that the device takes to augment an image of a batch."""
    with contextlib.closing(_batches(source, trial)) as batches:
        batch = jax.device_put(next(batches))
    config = AugmentConfig(group=math.gcd(trial.batch_size, 8))
    step = jax.jit(functools.partial(augment, config=config))
    seconds = []
    for number in range(rounds + 1):
        key = jax.random.key(number)
        started = time.perf_counter()
        jax.block_until_ready(step(key, batch))
        seconds.append(time.perf_counter() - started)
    median = statistics.median(seconds[1:])  # the first one compiles
    return 1000 * median / trial.batch_size


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
