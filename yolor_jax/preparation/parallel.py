"""The same function on many arguments: in this process, in several, or on many machines by Ray.

    for result in run(write_shard, tasks, Workers(processes=8)): ...
    for result in run(write_shard, tasks, Workers(ray="local")): ...

Results come as they are done. A worker that is lost costs what it was at: that is done again.
"""

import contextlib
import logging
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NamedTuple

from yolor_jax.errors import InputError

_ATTEMPTS = 3  # at a task whose worker ends
_SECONDS_TO_CONNECT = 10


class Workers(NamedTuple):
    """Who works.

    Attributes:
        processes: on this machine; 1 for this process. Others are started anew, so that a program
            must be guarded by ``if __name__ == "__main__"``.
        ray: address of a Ray cluster, or ``"local"`` to start one here; processes if None.
    """

    processes: int = 1
    ray: str | None = None


HERE = Workers()


def run(function: Callable, tasks: Sequence[tuple], workers: Workers) -> Iterator[Any]:
    """Calls ``function(*task)`` for each task.

    Args:
        function: of a module, and tasks that can be pickled, unless one process does it all.
        tasks: the arguments.
        workers: who calls it.

    Yields:
        What it returns, in the order in which the tasks are done.

    Raises:
        OSError: a worker ended again and again.
        InputError: there is no such Ray cluster, or Ray is not installed; and what the function
            raises.
    """
    if workers.ray is not None:
        yield from _on_ray(function, tasks, workers.ray)
    elif min(workers.processes, len(tasks)) <= 1:
        yield from (function(*task) for task in tasks)
    else:
        yield from _in_processes(function, tasks, min(workers.processes, len(tasks)))


def _in_processes(function: Callable, tasks: Sequence[tuple], processes: int) -> Iterator[Any]:
    """A thread for each process, so that one that ends takes no other task with it."""
    crew = threading.local()

    def call(task: tuple) -> Any:
        for _ in range(_ATTEMPTS):
            if not hasattr(crew, "process"):
                crew.process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            try:
                return crew.process.submit(function, *task).result()
            except BrokenProcessPool:
                del crew.process
        raise OSError(
            f"a worker process ended {_ATTEMPTS} times at the same task (no memory left?); give "
            "the command again with fewer --workers"
        )

    with ThreadPoolExecutor(processes) as threads:
        futures = [threads.submit(call, task) for task in tasks]
        try:
            yield from _results(futures)
        finally:
            for future in futures:
                future.cancel()


def _results(futures: Sequence[Future]) -> Iterator[Any]:
    return (future.result() for future in as_completed(futures))


def _on_ray(function: Callable, tasks: Sequence[tuple], address: str) -> Iterator[Any]:
    """Ray's tasks, which Ray gives to others if a machine is lost."""
    with on_cluster(address) as ray:
        waiting = [ray.remote(function).remote(*task) for task in tasks]
        while waiting:
            done, waiting = ray.wait(waiting)
            try:
                yield ray.get(done[0])
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error


@contextlib.contextmanager
def on_cluster(address: str) -> Iterator[Any]:
    """Connects to a Ray cluster for its body.

    Args:
        address: of the cluster, or ``"local"`` to start one here.

    Yields:
        The module ``ray``.

    Raises:
        InputError: there is no such Ray cluster, or Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: pip install 'yolor-jax[ray]'") from error
    try:
        if found := re.search(r"([^/]+):(\d+)$", address):  # Ray itself would try for minutes
            socket.create_connection((found[1], int(found[2])), _SECONDS_TO_CONNECT).close()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)  # by JAX
            ray.init(
                address=None if address == "local" else address,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
