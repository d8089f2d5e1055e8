"""Partners from the images that were read last: which they are, and that a run keeps them."""

import itertools

import numpy as np
import pytest

from yolor_jax.data import recent
from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import Reading
from yolor_jax.data.recent import with_recent_partners

BATCH, PARTNERS = 8, 3
ALONE = Reading()


def numbered(reading=ALONE):
    """Batches whose images are their examples' numbers; and where they were opened."""
    opened = []

    def read(start):
        opened.append(start)
        share = reading.share(BATCH)
        for first in itertools.count(start + reading.process_index * share, BATCH):
            number = np.arange(first, first + share, dtype=np.int32)
            field = lambda *shape: np.zeros((share, *shape), np.float32)  # noqa: E731
            yield Batch(
                number[:, None, None, None].astype(np.uint8), field(2, 4), field(2), field(2),
                field(2), number, field(2), field(3), field(), field(2),
            )  # fmt: skip

    return read, opened


def take(count, *, start=0, seed=0, reading=ALONE):
    read, _ = numbered(reading)
    batches = with_recent_partners(
        read, start=start, batch_size=BATCH, partners=PARTNERS, seed=seed, reading=reading
    )
    return [batch.index.reshape(-1, 1 + PARTNERS) for batch in itertools.islice(batches, count)]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(recent, "HELD", 20)  # three batches


def test_each_image_comes_first_and_its_partners_are_of_the_last_three_batches():
    for number, rows in enumerate(take(40)):
        assert rows[:, 0].tolist() == list(range(number * BATCH, (number + 1) * BATCH))
        assert rows.max() < (number + 1) * BATCH
        assert rows.min() >= max(number - 2, 0) * BATCH
    behind = np.concatenate(
        [number * BATCH + 7 - rows[:, 1:] for number, rows in enumerate(take(99))]
    )
    _, counts = np.unique(behind[24:], return_counts=True)
    assert len(counts) == 24 and counts.min() > 0.6 * counts.mean()  # all alike


@pytest.mark.parametrize("position", [1, 2, 3, 30])
def test_a_run_that_goes_on_has_the_same_batches(position):
    whole = take(position + 5)
    assert np.array_equal(take(5, start=position * BATCH), whole[position:])
    assert not np.array_equal(take(5, seed=1), whole[:5])


def test_no_more_is_read_again_than_is_held():
    read, opened = numbered()
    batches = with_recent_partners(
        read, start=800, batch_size=BATCH, partners=1, seed=0, reading=ALONE
    )
    next(batches)
    batches.close()
    assert opened == [800 - 2 * BATCH]


def test_processes_have_partners_of_their_own():
    halves = [take(6, reading=Reading(index, 2)) for index in range(2)]
    for number in range(6):
        both = np.concatenate([half[number][:, 0] for half in halves])
        assert both.tolist() == list(range(number * BATCH, (number + 1) * BATCH))
        assert (halves[0][number] % BATCH < 4).all() and (halves[1][number] % BATCH >= 4).all()


def test_all_of_an_image_goes_with_it():
    read, _ = numbered()
    batches = with_recent_partners(
        read, start=0, batch_size=BATCH, partners=2, seed=0, reading=ALONE
    )
    batch = next(batches)
    assert batch.image.shape == (24, 1, 1, 1) and batch.image.dtype == np.uint8
    assert np.array_equal(batch.image[:, 0, 0, 0], batch.index)
