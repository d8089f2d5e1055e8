"""SIGTERM, by which schedulers announce that they take the machine away, as a question to ask.

    with preemption() as preempted:
        state = train(..., stop=preempted)

The signal handler only sets a flag: what is under way, such as a step or a write, is finished.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def preemption() -> Iterator[Callable[[], bool]]:
    """Catches SIGTERM within its body, in the main thread, and restores the handler before.

    Yields:
        A function that tells whether SIGTERM has arrived.

    Raises:
        ValueError: if it is not entered in the main thread.
    """
    arrived = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: arrived.set())
    try:
        yield arrived.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
