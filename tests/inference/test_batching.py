"""Batches of one shape, results in order, work in threads."""

import itertools
import threading
import time

import pytest

from yolor_jax.inference.batching import batches_by_shape, in_order, in_threads


def batches(words, **settings):
    return [
        [position for position, _ in batch]
        for batch in batches_by_shape(words, len, **{"batch_size": 2, "most_waiting": 9} | settings)
    ]


def test_one_shape_is_cut_into_batches():
    assert batches("abcde") == [[0, 1], [2, 3], [4]]
    assert batches("") == []


def test_items_of_one_shape_go_together():
    assert batches(["a", "bb", "c", "ddd", "ee"]) == [[0, 2], [1, 4], [3]]


def test_none_waits_for_long():
    words = ["bb", *"abcdefgh", "ii"]
    assert batches(words, most_waiting=4)[:3] == [[1, 2], [3, 4], [0]]
    assert batches(words, most_waiting=9)[-1] == [0, 9]


def test_batches_come_as_soon_as_they_are_full():
    endless = batches_by_shape(itertools.count(), lambda _: 0, batch_size=3, most_waiting=9)
    assert next(endless) == [(0, 0), (1, 1), (2, 2)]


def test_in_order():
    taken = []
    numbered = in_order(taken.append(n) or (n, str(n)) for n in (1, 0, 3, 2))
    assert next(numbered) == "0" and taken == [1, 0], "no later than it must be"
    assert list(numbered) == ["1", "2", "3"]
    assert list(in_order([])) == []


def test_threads_work_together_and_results_are_in_order():
    meeting = threading.Barrier(3, timeout=10)

    def double(number):
        meeting.wait()  # passes only where three work at once
        time.sleep(0.01 * (number % 3 == 0))
        return 2 * number

    assert list(in_threads(double, range(9), threads=3)) == [2 * n for n in range(9)]


def test_threads_take_a_few_items_ahead_and_end_with_their_user():
    taken, done = [], []
    results = in_threads(done.append, map(lambda n: taken.append(n) or n, range(99)), threads=2)
    next(results)
    assert len(taken) == 8
    results.close()
    assert len(taken) == 8 and len(done) <= 8


def test_an_error_comes_in_its_turn():
    results = in_threads(lambda n: 6 // n, [3, 0, 2], threads=2)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)
