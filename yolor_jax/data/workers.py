"""Batches made by other processes, in turn: batch j by worker j modulo their number.

Each worker owns a few batches of shared memory that it fills again and again; what is handed on is
a copy. Batches are those that the loader makes here, in the same order, and an error is raised here
with its own words. Workers leave signals to the main process and end when it ends, whatever ends
it: the pipe to it breaks. Nothing is left in shared memory then.

    for batch, overflows in batches_of_workers(loader, iter([[17, 3], [8, 2]]), workers=2): ...
"""

import atexit
import contextlib
import ctypes
import itertools
import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

import numpy as np

from yolor_jax.data.collate import BatchLoader, Overflow
from yolor_jax.data.example import Batch

_BATCHES_AHEAD = 2  # of each worker
_SECONDS_TO_END = 10.0


def batches_of_workers(
    loader: BatchLoader, positions: Iterator[list[int]], workers: int
) -> Iterator[tuple[Batch, list[Overflow]]]:
    """What ``loader`` makes of each list of positions, made by `workers` processes.

    Args:
        loader: goes to the workers by pickle, with its source.
        positions: of each batch in the split; all equally many.
        workers: number of processes; they are started with the first batch and end with the last,
            with ``close()``, or with the program.

    Raises:
        InputError: if an image cannot be decoded, as from the loader itself.
        ChildProcessError: if a worker ended by itself.
    """
    first = next(positions, None)
    if first is None:
        return
    requests = itertools.chain([first], positions)
    crew = [_Worker(loader, len(first)) for _ in range(workers)]
    end = contextlib.ExitStack()
    end.callback(atexit.unregister, end.close)
    for worker in crew:
        end.callback(worker.join)
    for worker in crew:  # called first, in reverse order: all are told before one is awaited
        end.callback(worker.hang_up)
    atexit.register(end.close)
    with end:
        for worker, wanted in zip(crew * _BATCHES_AHEAD, requests, strict=False):
            worker.ask(wanted)
        for worker in itertools.cycle(crew):
            if not worker.asked:
                return
            made = worker.take()
            wanted = next(requests, None)
            if wanted is not None:
                worker.ask(wanted)
            yield made


class _Worker:
    """One process, seen from here."""

    def __init__(self, loader: BatchLoader, count: int):
        context = multiprocessing.get_context("spawn")
        template = loader.empty(count)
        slots = [
            [context.RawArray(ctypes.c_byte, max(field.nbytes, 1)) for field in template]
            for _ in range(_BATCHES_AHEAD)
        ]
        self._slots = [_views(slot, template) for slot in slots]
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, loader, count, slots), daemon=True
        )
        resource_tracker.ensure_running()  # it unblocks signals where it must start
        with _blocked_signals():
            self._process.start()
        theirs.close()
        self._taken = 0
        self.asked = 0  # requests without an answer

    def ask(self, positions: list[int]) -> None:
        """Asks for one more batch; at most `_BATCHES_AHEAD` may be on their way."""
        with contextlib.suppress(BrokenPipeError):  # `take` says so
            self._pipe.send(positions)
        self.asked += 1

    def take(self) -> tuple[Batch, list[Overflow]]:
        """Waits for the next batch."""
        try:
            error, overflows = self._pipe.recv()
        except (EOFError, ConnectionResetError) as broken:
            self._process.join(_SECONDS_TO_END)
            raise ChildProcessError(
                f"a worker process that reads images ended with exit code "
                f"{self._process.exitcode}; its own message stands above, or the system had too "
                "little memory: use fewer workers, or none (a program that uses workers needs "
                'the guard `if __name__ == "__main__"`)'
            ) from broken
        if error is not None:
            raise error
        slot = self._slots[self._taken % _BATCHES_AHEAD]
        self._taken += 1
        self.asked -= 1
        return Batch(*(np.array(field) for field in slot)), overflows

    def hang_up(self) -> None:
        """Lets the process end after the batch that it is at."""
        self._pipe.close()

    def join(self) -> None:
        """Waits until the process has ended; one that does not is killed."""
        self._process.join(_SECONDS_TO_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """What is started here never sees Ctrl-C or SIGTERM, from its first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _views(slot: list[Any], template: Batch) -> Batch:
    """The shared memory as the arrays of a batch."""
    return Batch(
        *(
            np.frombuffer(memory, field.dtype, field.size).reshape(field.shape)
            for memory, field in zip(slot, template, strict=True)
        )
    )


def _work(pipe: Any, loader: BatchLoader, count: int, slots: list[list[Any]]) -> None:
    """The life of a worker: fills its batches one after the other, as it is asked to."""
    template = loader.empty(count)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        for slot in itertools.cycle([_views(slot, template) for slot in slots]):
            positions = pipe.recv()
            pipe.send(_answer(loader, slot, positions))


def _answer(
    loader: BatchLoader, slot: Batch, positions: list[int]
) -> tuple[Exception | None, list[Overflow]]:
    """The error, if there was one, and the images with too many targets."""
    try:
        return None, loader.fill(slot, positions)
    except Exception as error:  # whatever it is, it belongs to the main process
        return error, []
