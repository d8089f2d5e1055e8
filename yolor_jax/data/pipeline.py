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
import logging
import sys
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from yolor_jax.data.collate import BatchLoader, Overflow
from yolor_jax.data.example import Batch, Examples
from yolor_jax.data.workers import batches_of_workers
from yolor_jax.errors import InputError

_logger = logging.getLogger(__name__)
_PARTNERS = 0x9A127  # makes these draws others than those of anything else with the same seed


def train_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 16,
    workers: int = 0,
    order: Sequence[int] | None = None,
    partners: int = 0,
) -> Iterator[Batch]:
    """Endless batches in an order that depends on `seed` alone.

    Args:
        source: The split.
        image_size: Side of the square canvas in pixels.
        batch_size: Images of one batch over all processes together.
        max_targets: Targets per image; of an image that has more, the largest are kept, and a line
            in the log counts such images.
        seed: Of the order, 0 .. 2**32 - 1.
        start: Number of examples, over all processes, that were consumed before.
        process_index: Which part of each batch to return: processes in order make the batch.
        process_count: Number of processes; must divide `batch_size`.
        threads: Threads that read and decode, in each worker.
        workers: Processes that make batches beside this one, in turn; with 0 the threads are of
            this process. Batches are the same. The main module of a program that uses workers needs
            the guard ``if __name__ == "__main__"``, and `source` must be one that pickles.
        order: Position in the split of every example of an endless run, such as a `WeightedOrder`;
            None: each epoch another permutation, by `seed`.
        partners: So many images, drawn from the whole split by `seed` and the example's number,
            follow each image in its batch, for `AugmentConfig.partners`.

    Returns:
        An iterator of batches of ``batch_size // process_count`` images, times ``1 + partners``.
        Its ``close()`` ends threads and workers; so does the end of the program, whatever ends it.

    Raises:
        InputError: If an argument is out of range, or (later) an image cannot be decoded; the
            message names it.
    """
    share = _share(batch_size, process_index, process_count)
    if start < 0 or max_targets < 1 or image_size < 1:
        raise InputError(
            f"got start={start}, max_targets={max_targets}, image_size={image_size}; expected a "
            "position of at least 0, at least one target and at least one pixel"
        )
    if order is None:
        order = grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat()

    def positions(number: int) -> list[int]:
        """Positions in the split of batch `number`, this process's share of it."""
        first = start + number * batch_size + process_index * share
        return [
            position
            for count in range(first, first + share)
            for position in (order[count], *_drawn(len(source), partners, seed, count))
        ]

    loader = BatchLoader(source, image_size=image_size, max_targets=max_targets, threads=threads)
    return _batches(loader, _numbered(positions, sys.maxsize), share, threads, workers)


def eval_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 16,
    workers: int = 0,
) -> Iterator[Batch]:
    """Every image exactly once, in order; what is missing in the last batch has ``valid=False``.

    All processes return equally many batches. Arguments as for `train_batches`; with
    ``max_targets=0`` the batches come without targets, which evaluation does not need.
    """
    share = _share(batch_size, process_index, process_count)

    def positions(number: int) -> list[int]:
        """Positions in the split, -1 behind its end."""
        first = number * batch_size + process_index * share
        return [i if i < len(source) else -1 for i in range(first, first + share)]

    loader = BatchLoader(source, image_size=image_size, max_targets=max_targets, threads=threads)
    batch_count = -(-len(source) // batch_size)
    return _batches(loader, _numbered(positions, batch_count), share, threads, workers)


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


def _share(batch_size: int, process_index: int, process_count: int) -> int:
    """Images per process."""
    if not 0 <= process_index < process_count or batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"got batch_size={batch_size} for process {process_index} of {process_count}; "
            "expected a batch size that the number of processes divides"
        )
    return batch_size // process_count


def _batches(
    loader: BatchLoader, positions: grain.MapDataset, share: int, threads: int, workers: int
) -> Iterator[Batch]:
    """Reads ahead, with the threads of this process or in workers."""
    if threads < 1 or workers < 0:
        raise InputError(
            f"got threads={threads}, workers={workers}; expected at least one thread and no "
            "negative number of processes"
        )
    if workers:
        return _reported(batches_of_workers(loader, iter(positions), workers), loader.max_targets)
    at_once = 1 + -(-threads // share)  # as many as keep all threads busy where one ends
    options = grain.ReadOptions(num_threads=at_once, prefetch_buffer_size=at_once)
    return _reported(iter(positions.map(loader).to_iter_dataset(options)), loader.max_targets)


def _reported(loaded: Iterator[tuple[Batch, list[Overflow]]], max_targets: int) -> Iterator[Batch]:
    """The batches; images with too many targets are counted, and said at the 1st, 2nd, 4th ..."""
    count = 0
    with contextlib.closing(loaded):
        for batch, overflows in loaded:
            for name, targets in overflows:
                count += 1
                if count & (count - 1) == 0:
                    _logger.warning(
                        "%s has %d targets, more than max_targets=%d: the largest are kept "
                        "(%d such images so far); raise max_targets to keep all",
                        name, targets, max_targets, count,
                    )  # fmt: skip
            yield batch
