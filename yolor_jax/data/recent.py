"""Partners for mosaics from the images that were read last: at one decode an image.

    batches = with_recent_partners(read, start=0, batch_size=64, partners=3, seed=0, reading=here)
    next(batches).image.shape    # [64 * 4, H, W, 3]: each image is followed by its partners

Partners are among the last `HELD` images, so that a step sees more images than it reads. Which they
are depends on the seed, the example's number and what this process read before: a run that goes on
with as many processes reads those images anew, and has the same batches to the bit.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import Reading

HELD = 256
"""Images that a process holds, at least: 0.3 GB of 640 pixels."""
_RECENT = 0x4EC47


def with_recent_partners(
    read: Callable[[int], Iterator[Batch]],
    *,
    start: int,
    batch_size: int,
    partners: int,
    seed: int,
    reading: Reading,
) -> Iterator[Batch]:
    """The batches of a reader, with the partners of each image behind it.

    Args:
        read: opens this process's part of the batches at a number of examples consumed before, as
            of `train_batches` without partners.
        start: number of examples, over all processes, that were consumed before.
        batch_size: images of one batch over all processes together.
        partners: number of images for each, drawn from those that this process read last, this
            batch's among them.
        seed: of what is drawn.
        reading: this process's part of each batch; its images have partners among themselves.

    Yields:
        Batches of ``reading.share(batch_size) * (1 + partners)`` images, NumPy.

    Raises:
        InputError: see `train_batches`.
    """
    share = reading.share(batch_size)
    held = -(-HELD // share)  # batches
    before = min(held - 1, start // batch_size)
    recent: collections.deque[Batch] = collections.deque(maxlen=held)
    with contextlib.closing(read(start - before * batch_size)) as batches:
        for number, batch in enumerate(batches, -before):
            recent.append(batch)
            if number >= 0:
                first = start + number * batch_size + reading.process_index * share
                drawn = [
                    _drawn(len(recent) * share, partners, seed, first + i) for i in range(share)
                ]
                yield _followed(recent, drawn)


def _drawn(images: int, number: int, seed: int, count: int) -> list[int]:
    """Which of the images held are the partners of the example `count`, the oldest first."""
    return np.random.default_rng((_RECENT, seed, count)).integers(images, size=number).tolist()


def _followed(recent: Sequence[Batch], drawn: Sequence[Sequence[int]]) -> Batch:
    """The last batch, each image with those drawn for it behind it."""
    share, last = len(drawn), len(recent) - 1
    rows = [
        row
        for own, partners in enumerate(drawn)
        for row in ((last, own), *(divmod(partner, share) for partner in partners))
    ]
    return Batch(
        *(np.stack([fields[b][i] for b, i in rows]) for fields in zip(*recent, strict=True))
    )
