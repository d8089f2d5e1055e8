"""Programs that take turns, round after round, so that a busy machine slows all of them alike.

```python
take_cores(1)                                       # before JAX starts its devices
require_same("boxes", ours(), theirs())
seconds = in_turn({"ours": ours, "theirs": theirs}, rounds=10)
ratio(seconds["ours"], seconds["theirs"])           # below 1: ours is faster
```
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from yolor_jax.errors import InputError

AGREEMENT = 1e-4  # largest difference of what two programs give, relative to 1 + |value|
REST = 0.3  # seconds, in which the threads of another program end their loop

Call = Callable[[], Any]


def take_cores(count: int) -> None:
    """Keeps this process and JAX on so many of its cores; JAX then starts as many threads.

    Raises:
        InputError: it may not use so many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(cores):
        raise InputError(f"got {count} threads; expected 1 to {len(cores)}, the cores to be used")
    os.sched_setaffinity(0, cores[:count])
    jax.config.update("jax_platforms", "cpu")  # or ours alone would take a GPU that is there


def require_same(what: str, ours: Any, theirs: Any) -> None:
    """Raises an ArithmeticError unless two programs give the same, to `AGREEMENT`."""
    difference = np.max(np.abs(ours - theirs) / (1 + np.abs(theirs)))
    if not difference <= AGREEMENT:
        raise ArithmeticError(
            f"{what} and ours differ by {difference:.1e}, expected at most {AGREEMENT}; "
            "a ratio of their times would compare different work"
        )


def in_turn(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, after one that warms up.

    Before each turn there is a rest, and a call that does not count: the threads of whoever came
    before (OpenMP's, onnxruntime's) wait for more work in a loop, which takes a core from the next.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(REST)
            jax.block_until_ready(call())
            started = time.perf_counter()
            jax.block_until_ready(call())
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """The median over the rounds of one time by another."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median time of each program."""
    return {name: statistics.median(own) for name, own in seconds.items()}
