"""Turns: each program rests and warms up before what is timed."""

import time

import pytest

from yolor_jax.errors import InputError
from yolor_jax.runs import in_turn


def test_what_comes_before_does_not_count(monkeypatch):
    monkeypatch.setattr(in_turn, "REST", 0.02)
    calls, starts = [], []

    def program(name):
        def call():
            calls.append(name)
            starts.append(time.perf_counter())
            if calls.count(name) % 2:  # what the others left in the caches, and on the cores
                time.sleep(0.05)

        return call

    seconds = in_turn.in_turn({"a": program("a"), "b": program("b")}, rounds=2)
    assert calls == ["a", "a", "b", "b"] * 3  # a round that warms up, and two
    assert all(len(own) == 2 and max(own) < 0.02 for own in seconds.values())
    assert starts[2] - starts[1] >= 0.02


def test_cores_that_are_not_there():
    with pytest.raises(InputError, match="expected 1 to"):
        in_turn.take_cores(10_000)
