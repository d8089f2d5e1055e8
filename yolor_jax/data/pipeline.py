"""From a source to batches of static shape: read, decode, letterbox, pad, batch, shard (Grain).

Training walks an endless sequence of examples: epoch after epoch, each a new permutation of the
split drawn from (seed, epoch). That sequence depends on the seed alone; batch j of a run that
starts at example `start` holds its elements start + j * batch_size onwards, whatever the number of
threads and processes. A run that was stopped after k examples goes on exactly with `start=k`.
Everything random beyond the order happens on the device (`augment`).

    batches = train_batches(source, image_size=640, batch_size=16, max_targets=128, seed=0)
    batch = next(batches)
    for batch in eval_batches(source, image_size=640, batch_size=16, max_targets=128): ...
"""

import contextlib
import dataclasses
import functools
import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from yolor_jax.data import rectangles
from yolor_jax.data.collate import BatchLoader, Overflow
from yolor_jax.data.encoded import read_header
from yolor_jax.data.example import Batch, Examples
from yolor_jax.data.workers import batches_of_workers
from yolor_jax.errors import InputError

_logger = logging.getLogger(__name__)
# Keeps these draws apart from those of anything else that uses the same seed.
_PARTNERS = 0x9A127


@dataclasses.dataclass(frozen=True)
class Reading:
    """How this process reads: its part of every batch, and what reads it. No batch depends on it.

    Attributes:
        process_index: which part of each batch to return; the parts in order make the batch.
        process_count: number of processes that share a batch; must divide the batch size.
        threads: threads that read and decode, in each worker.
        workers: processes that make batches beside this one, in turn; with 0 the threads are of
            this process. The main module of a program that uses workers needs the guard
            ``if __name__ == "__main__"``, and its source must be one that pickles.

    Raises:
        InputError: there is no thread, a negative number of workers, or no such process.
    """

    process_index: int = 0
    process_count: int = 1
    threads: int = 16
    workers: int = 0

    def __post_init__(self):
        if not 0 <= self.process_index < self.process_count:
            raise InputError(
                f"got process {self.process_index} of {self.process_count}; processes count from 0"
            )
        if self.threads < 1 or self.workers < 0:
            raise InputError(
                f"got threads={self.threads}, workers={self.workers}; expected at least one thread "
                "and no negative number of processes"
            )

    def share(self, batch_size: int) -> int:
        """Images of each batch that this process reads.

        Raises:
            InputError: the processes do not divide ``batch_size``, or it is below 1.
        """
        if batch_size < 1 or batch_size % self.process_count:
            raise InputError(
                f"got batch_size={batch_size} for {self.process_count} processes; expected a batch "
                "size that the number of processes divides"
            )
        return batch_size // self.process_count


def train_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    seed: int,
    start: int = 0,
    order: Sequence[int] | None = None,
    partners: int = 0,
    scaled_decode: bool = False,
    reading: Reading = Reading(),
) -> Iterator[Batch]:
    """Endless batches in an order that depends on `seed` alone.

    Args:
        source: the split.
        image_size: side of the square canvas in pixels.
        batch_size: images of one batch over all processes together.
        max_targets: targets per image, T; of an image that has more, the largest are kept, and a
            line in the log counts such images.
        seed: of the order, 0 .. 2**32 - 1.
        start: number of examples, over all processes, that were consumed before.
        order: position in the split of every example of an endless run, such as a `WeightedOrder`;
            None for another permutation in each epoch, drawn from ``seed``.
        partners: number of images, drawn from the whole split by ``seed`` and the example's number,
            that follow each image in its batch, for `AugmentConfig.partners`.
        scaled_decode: whether images are decoded no larger than the canvas takes (`data.scaled`).
        reading: this process's part of each batch, and how many threads and workers read it.

    Returns:
        An iterator of batches of ``reading.share(batch_size) * (1 + partners)`` images, NumPy. Its
        ``close()`` ends threads and workers; so does the end of the program, whatever ends it.

    Raises:
        InputError: an argument is out of range, or (from the iterator) an image cannot be decoded;
            the message names it.
    """
    share = reading.share(batch_size)
    if start < 0 or max_targets < 1 or image_size < 1:
        raise InputError(
            f"got start={start}, max_targets={max_targets}, image_size={image_size}; expected a "
            "position of at least 0, at least one target and at least one pixel"
        )
    if order is None:
        order = grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat()

    def positions(number: int) -> list[int]:
        """Positions in the split of batch `number`, this process's share of it."""
        first = start + number * batch_size + reading.process_index * share
        return [
            position
            for count in range(first, first + share)
            for position in (order[count], *_drawn(len(source), partners, seed, count))
        ]

    loader = _square_loader(source, image_size, max_targets, scaled_decode, reading)
    return _batches(loader, _numbered(positions, sys.maxsize), share, reading)


def eval_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    scaled_decode: bool = False,
    reading: Reading = Reading(),
) -> Iterator[Batch]:
    """Every image exactly once, in order; the padding of the last batch has ``valid=False``.

    All processes return equally many batches: each batch is computed by all of them together.

    Args:
        source: the split.
        image_size: side of the square canvas in pixels.
        batch_size: images of one batch over all processes together.
        max_targets: targets per image, T; with 0 the batches come without targets, which the COCO
            protocol does not need.
        scaled_decode: whether images are decoded no larger than the canvas takes (`data.scaled`).
        reading: this process's part of each batch, and how many threads and workers read it.

    Returns:
        An iterator of batches of ``reading.share(batch_size)`` images, NumPy.

    Raises:
        InputError: an argument is out of range, or (from the iterator) an image cannot be decoded;
            the message names it.
    """
    share = reading.share(batch_size)

    def positions(number: int) -> list[int]:
        """Positions in the split, -1 behind its end."""
        first = number * batch_size + reading.process_index * share
        return [i if i < len(source) else -1 for i in range(first, first + share)]

    loader = _square_loader(source, image_size, max_targets, scaled_decode, reading)
    batch_count = -(-len(source) // batch_size)
    return _batches(loader, _numbered(positions, batch_count), share, reading)


def rectangular_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    grid: int = rectangles.GRID,
    reading: Reading = Reading(),
) -> Iterator[Batch]:
    """Every image exactly once, sorted by aspect ratio, on canvases that follow the images.

    Reads the header of each image first. Arguments, result and errors as of `eval_batches`, but for
    the canvas (`rectangles.plan`): batches have few different sizes, those of one after the other.
    Images are decoded whole.

    Args:
        source: the split.
        image_size: pixels of the longer side of an image.
        batch_size: images of one batch over all processes together.
        max_targets: targets per image, T.
        grid: pixels of which both sides of a canvas are a multiple.
        reading: this process's part of each batch, and how many threads and workers read it.
    """
    share = reading.share(batch_size)
    sizes_hw = np.array([read_header(source[i].jpeg)[:2] for i in range(len(source))])
    batches = rectangles.plan(sizes_hw, image_size=image_size, batch_size=batch_size, grid=grid)
    fit = functools.partial(rectangles.fit, longest=image_size)
    for size, group in itertools.groupby(batches, key=lambda batch: batch.size):
        chunks = [batch.positions + [-1] * (batch_size - len(batch.positions)) for batch in group]
        first = reading.process_index * share
        mine = [chunk[first : first + share] for chunk in chunks]
        loader = BatchLoader(
            source, size=size, max_targets=max_targets, threads=reading.threads, fit=fit
        )
        yield from _batches(loader, grain.MapDataset.source(mine), share, reading)


def _square_loader(
    source: Examples, image_size: int, max_targets: int, scaled_decode: bool, reading: Reading
) -> BatchLoader:
    return BatchLoader(
        source,
        size=(image_size, image_size),
        max_targets=max_targets,
        threads=reading.threads,
        scaled_decode=scaled_decode,
    )


def _drawn(images: int, number: int, seed: int, count: int) -> list[int]:
    """Positions of the partners of the example `count`."""
    if not number:
        return []
    return np.random.default_rng((_PARTNERS, seed, count)).integers(images, size=number).tolist()


class _Numbered:
    """A function of a batch's number as a sequence that Grain can read."""

    def __init__(self, function: Callable[[int], list[int]], length: int):
        self._function = function
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> list[int]:
        return self._function(int(number))


def _numbered(positions: Callable[[int], list[int]], length: int) -> grain.MapDataset:
    """A function of a batch's number as a data set of Grain."""
    return grain.MapDataset.source(_Numbered(positions, length))


def _batches(
    loader: BatchLoader, positions: grain.MapDataset, share: int, reading: Reading
) -> Iterator[Batch]:
    """Reads ahead, with the threads of this process or in workers."""
    if reading.workers:
        loaded = batches_of_workers(loader, iter(positions), reading.workers)
        return _reported(loaded, loader.max_targets)
    # So many batches have an image for every thread; one more, so that none of them waits for the
    # slowest image of a batch that ends.
    at_once = 1 + -(-reading.threads // share)
    options = grain.ReadOptions(num_threads=at_once, prefetch_buffer_size=at_once)
    return _reported(iter(positions.map(loader).to_iter_dataset(options)), loader.max_targets)


def _reported(loaded: Iterator[tuple[Batch, list[Overflow]]], max_targets: int) -> Iterator[Batch]:
    """The batches; images with too many targets are counted, and said at the 1st, 2nd, 4th ..."""
    count = 0
    with contextlib.closing(loaded):
        for batch, overflows in loaded:
            for name, objects in overflows:
                count += 1
                if count & (count - 1) == 0:
                    _logger.warning(
                        "%s has %d objects, more than max_targets=%d: the largest are kept "
                        "(%d such images so far); raise max_targets to keep all",
                        name, objects, max_targets, count,
                    )  # fmt: skip
            yield batch
