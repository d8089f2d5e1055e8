"""Runs of an ablation, each in a process of its own: side by side on the devices, or on machines.

    for done in train_all(plan, command, devices()):
        done.planned.name, done.failure      # None: it is finished

A process for each run is how a run gets a device of its own, and how one that fails, or is killed,
leaves the others alone. A run that was stopped goes on from its last checkpoint.
"""

import concurrent.futures
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from yolor_jax import bucket
from yolor_jax.ablation.plan import Planned, standing
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.preparation.parallel import on_cluster

Device = Mapping[str, str]
"""What the environment of a process has, so that it sees one device alone; {}: all."""
COUNT = "import jax; print(jax.default_backend(), jax.local_device_count())"
DEAF_TO_CTRL_C = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""In front of a command. A terminal interrupts all of its processes, and a run would end unsaved;
the ablation alone hears it, and ends its runs by SIGTERM, on which they save."""
ASKED = 0.5  # seconds between two questions whether to stop


class Done(NamedTuple):
    """A run that has ended.

    Attributes:
        planned: which.
        failure: why it is not finished, a sentence; None if it is.
        log: what it told, in a file.
    """

    planned: Planned
    failure: str | None
    log: Path


def devices() -> list[Device]:
    """The GPUs of this machine, one by one; a single entry for all devices where there are none.

    They are counted in another process: one that has looked at them holds their memory.
    """
    counted = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True)
    platform, _, count = counted.stdout.strip().rpartition(" ")
    if platform != "gpu" or count == "1":
        return [{}]
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = chosen.split(",") if chosen else map(str, range(int(count)))
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names]


def train_all(
    plan: Sequence[Planned],
    command: Sequence[str],
    places: Sequence[Device],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Done]:
    """Trains all runs of a plan, as many at once as there are places.

    Args:
        plan: of runs that are not finished.
        command: that trains, as Python takes it, before the words of a run.
        places: a device each, of this machine.
        stop: asked all the time; runs that are under way then save and end, and no other begins.

    Yields:
        Each run as it ends, in any order.
    """
    free: queue.SimpleQueue[Device] = queue.SimpleQueue()
    for place in places:
        free.put(place)
    stopped = threading.Event()

    def train(planned: Planned) -> Done:
        place = free.get()
        try:
            told = "" if stopped.is_set() else _trained(planned, command, place, stopped)
        finally:
            free.put(place)
        return _done(planned, told, stopped.is_set())

    with concurrent.futures.ThreadPoolExecutor(len(places)) as threads:
        waiting = {threads.submit(train, planned) for planned in plan}
        try:
            while waiting:
                ended, waiting = concurrent.futures.wait(
                    waiting, ASKED, concurrent.futures.FIRST_COMPLETED
                )
                yield from (one.result() for one in ended)
                if stop():
                    stopped.set()
        finally:
            stopped.set()


def train_on_cluster(
    plan: Sequence[Planned], command: Sequence[str], address: str
) -> Iterator[Done]:
    """`train_all` on a Ray cluster, whose machines all see this folder and those of the runs.

    Args:
        plan: of runs that are not finished.
        command: that trains, as Python takes it, before the words of a run.
        address: of the cluster, or ``"local"``.

    Raises:
        InputError: there is no such Ray cluster, or Ray is not installed.
    """
    with on_cluster(address) as ray:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # Ray shows the process its GPU alone; of a lost machine, another goes on with the run.
        train = ray.remote(num_gpus=gpus, num_cpus=1, max_retries=3)(_trained)
        runs = {train.remote(planned, command, {}, None, os.getcwd()): planned for planned in plan}
        while runs:
            [ended], _ = ray.wait([*runs])
            planned = runs.pop(ended)
            try:
                told = ray.get(ended)
            except ray.exceptions.RayError as error:
                told = str(error)
            yield _done(planned, told, stopped=False)


def _trained(
    planned: Planned,
    command: Sequence[str],
    place: Device,
    stopped: threading.Event | None,
    folder: str | None = None,
) -> str:
    """Trains a run on a device, and returns what it told; ``stopped`` ends it by SIGTERM."""
    process = subprocess.Popen(
        [*DEAF_TO_CTRL_C, sys.executable, *command, *planned.train],
        cwd=folder,
        env={**os.environ, **place},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if stopped is None:
        told, _ = process.communicate()
    else:
        told = _until(process, stopped)
    return told if process.returncode >= 0 else f"{told}\nended by signal {-process.returncode}"


def _until(process: subprocess.Popen, stopped: threading.Event) -> str:
    """What a process told until its end, which comes soon when ``stopped`` is set."""
    told = None
    while told is None:
        try:
            told, _ = process.communicate(timeout=ASKED)
        except subprocess.TimeoutExpired:
            if stopped.is_set():
                process.terminate()  # again and again: the first may come before its handler
    return told


def _done(planned: Planned, told: str, stopped: bool) -> Done:
    """What came of a run, by what lies in its folder; what it told goes beside that."""
    log = planned.workdir.with_name(f"{planned.workdir.name}.log")
    if told:
        with bucket.as_os_error(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(told)
    try:
        if standing(planned) == "finished":
            return Done(planned, None, log)
    except (InputError, OSError) as error:
        return Done(planned, str(error), log)
    if stopped:
        return Done(planned, "stopped", log)
    lines = [line.strip() for line in re.split(r"[\r\n]+", told) if line.strip()]
    return Done(planned, lines[-1] if lines else "it told nothing", log)
