"""SIGTERM, by which schedulers announce that they take the machine away, as a question to ask.

    with preemption() as preempted:
        state = train(..., stop=preempted)
        scores = preempted.until(lambda: evaluate(state))  # None if it was cut short

The signal handler sets a flag, so that a step or a write that is under way is finished. Only work
that is handed to ``until`` is cut short: work that can be done again.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import TypeVar

from jax.sharding import Mesh

from yolor_jax.training.mesh import any_process

Result = TypeVar("Result")


class Preemption:
    """Whether SIGTERM has arrived."""

    def __init__(self):
        self._arrived = False
        self._cuts = False

    def __call__(self) -> bool:
        """Whether SIGTERM has arrived."""
        return self._arrived

    def until(self, work: Callable[[], Result]) -> Result | None:
        """What ``work()`` returns; None if SIGTERM came before it or ends it halfway."""
        try:
            try:
                self._cuts = True
                return None if self._arrived else work()
            finally:
                self._cuts = False
        except _CutShort:
            return None

    def arrive(self, *_) -> None:
        """The signal handler."""
        self._arrived = True
        if self._cuts:
            self._cuts = False
            raise _CutShort


class SharedPreemption(Preemption):
    """Whether SIGTERM has reached any process of a run; all hear of it at the same question.

    They stop at the same step: each must ask equally often. None cuts its work short, in which the
    others may be waiting for its part.
    """

    def __init__(self, mesh: Mesh):
        """Of the processes whose devices make the mesh."""
        super().__init__()
        self._answer = any_process(mesh, lambda: self._arrived)

    def __call__(self) -> bool:
        """Whether SIGTERM had arrived anywhere a few questions ago; see `any_process`."""
        return self._answer()

    def until(self, work: Callable[[], Result]) -> Result | None:
        """What ``work()`` returns."""
        return work()


class _CutShort(BaseException):
    """Ends work at once, as KeyboardInterrupt does; no handler of errors in it may stop that."""


@contextlib.contextmanager
def preemption() -> Iterator[Preemption]:
    """Catches SIGTERM within its body, in the main thread, and restores the handler before.

    Yields:
        A function that tells whether SIGTERM has arrived.

    Raises:
        InputError: if it is not entered in the main thread.
    """
    with _caught(Preemption()) as preempted:
        yield preempted


@contextlib.contextmanager
def shared_preemption(mesh: Mesh) -> Iterator[SharedPreemption]:
    """`preemption` in each of several processes, whose devices make the mesh."""
    with _caught(SharedPreemption(mesh)) as preempted:
        yield preempted


@contextlib.contextmanager
def _caught(preempted: Preemption) -> Iterator[Preemption]:
    """SIGTERM arrives at that object within the body."""
    before = signal.signal(signal.SIGTERM, preempted.arrive)
    try:
        yield preempted
    finally:
        signal.signal(signal.SIGTERM, before)
