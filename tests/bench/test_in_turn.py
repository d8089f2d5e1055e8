"""Turns: each program rests and warms up before what is timed."""

import pytest

from yolor_jax.bench import in_turn
from yolor_jax.errors import InputError


class Clock:
    """A clock that only sleep moves."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_what_comes_before_does_not_count(monkeypatch):
    clock, starts = Clock(), []
    monkeypatch.setattr(in_turn, "time", clock)

    def program(name):
        def call():
            starts.append((name, clock.now))
            called = sum(one == name for one, _ in starts)
            clock.sleep(1 if called % 2 else 5)  # 1: what the others left behind

        return call

    seconds = in_turn.in_turn({"a": program("a"), "b": program("b")}, rounds=2)
    assert [name for name, _ in starts] == ["a", "a", "b", "b"] * 3  # a round warms up
    assert seconds == {name: pytest.approx([5, 5]) for name in "ab"}
    assert starts[2][1] - (starts[1][1] + 5) == pytest.approx(in_turn.REST)


def test_cores_that_are_not_there():
    with pytest.raises(InputError, match="expected 1 to"):
        in_turn.take_cores(10_000)
