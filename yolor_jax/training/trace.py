"""A trace of some steps of a training, and what in them takes the time.

    with traced(advance, start, traced_steps("100:110"), workdir / "profile", say) as advance:
        state = loop.train(state, advance, ...)

The trace is what `jax.profiler` writes, for xprof or Perfetto; the table is made here, without a
viewer. Steps ``100:110`` are the ten that lead from the state of step 100 to that of step 110.
"""

import collections
import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath
from jax.profiler import ProfileData

from yolor_jax.paths import Path, is_local
from yolor_jax.table import text_table
from yolor_jax.training.step import Advance

SHOWN = 12  # operations in the table
# The lines of a trace that hold the operations of a compiled program: on accelerators one of the
# device, on a CPU those of XLA's threads.
_OF_DEVICES = re.compile(r"^/device:(TPU|GPU):\d+")
_OPERATIONS = re.compile(r"^(XLA Ops|Stream #\d+.*)$")
_THREADS = re.compile(r"^tf_XLA")
_NO_OPERATION = re.compile(r"^(end: |Threadpool|ThunkExecutor|\$)|::")


class Steps(NamedTuple):
    """Which steps are traced: those after ``first``, until ``last``."""

    first: int
    last: int


class Operation(NamedTuple):
    """The time of one operation of a program in a trace.

    Attributes:
        name: as XLA calls it.
        seconds: without those of operations inside it, over all its calls.
        calls: how often it ran, over all threads or streams.
    """

    name: str
    seconds: float
    calls: int


def traced_steps(text: str) -> Steps | None:
    """The steps of a setting such as "100:110"; None if it is not of that form, or holds none."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        return None
    return Steps(int(match[1]), int(match[2]))


@contextlib.contextmanager
def traced(
    advance: Advance, start: int, steps: Steps, folder: Path, say: Callable[[str], None]
) -> Iterator[Advance]:
    """The same steps, of which some are traced.

    Args:
        advance: a step of the run.
        start: the step of the state that comes first.
        steps: to be traced; those before ``start`` are not.
        folder: where the trace goes; may lie in a bucket.
        say: takes the table and where the trace is.

    Yields:
        What takes the place of ``advance``.

    Raises:
        OSError: the trace cannot be written.
    """
    done = start
    with contextlib.ExitStack() as stack:
        tracing: contextlib.ExitStack | None = None

        def advance_traced(state: Any, batch: Any) -> Any:
            nonlocal done, tracing
            if tracing is None and steps.first <= done < steps.last:
                jax.block_until_ready(state)  # of what came before, nothing is in the trace
                tracing = stack.enter_context(contextlib.ExitStack())
                tracing.enter_context(_trace(folder, say))
            with jax.profiler.StepTraceAnnotation("train", step_num=done + 1):
                state, metrics = advance(state, batch)
            done += 1
            if tracing is not None and done == steps.last:
                jax.block_until_ready(state)
                tracing.close()
            return state, metrics

        yield advance_traced


@contextlib.contextmanager
def _trace(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Traces its body."""
    with contextlib.ExitStack() as stack:
        local = folder
        if not is_local(folder):
            local = epath.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with jax.profiler.trace(str(local)):
            yield
        [file] = sorted(local.glob("plugins/profile/*/*.xplane.pb"))[-1:]
        if local != folder:
            for written in file.parent.iterdir():
                target = folder / written.relative_to(local)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(written.read_bytes())
        say(format_operations(expensive(ProfileData.from_file(str(file)))))
        say(f"the trace of these steps is in {folder}; look at it: xprof {folder}")


def expensive(profile: ProfileData) -> list[Operation]:
    """The operations of a trace, those that took the longest first."""
    seconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for events in _lines(profile):
        for name, own in own_times(events):
            seconds[name] += own
            calls[name] += 1
    return [Operation(name, value / 1e9, calls[name]) for name, value in seconds.most_common()]


def own_times(events: Iterable[tuple[str, float, float]]) -> Iterator[tuple[str, float]]:
    """The time of each event without that of the events inside it.

    Args:
        events: of one line: name, start, duration; in any unit and order.
    """
    open_: list[list[Any]] = []  # name, end, own time; each inside the one before
    for name, start, duration in sorted(events, key=lambda event: (event[1], -event[2])):
        while open_ and open_[-1][1] <= start:
            ended = open_.pop()
            yield ended[0], ended[2]
        if open_:
            open_[-1][2] -= duration
        open_.append([name, start + duration, duration])
    for name, _, own in open_:
        yield name, own


def format_operations(operations: Sequence[Operation]) -> str:
    """The table of the most expensive operations."""
    total = sum(one.seconds for one in operations)
    rows = [("operation", "ms", "share", "calls")]
    rows += [
        (one.name, f"{1e3 * one.seconds:,.2f}", f"{one.seconds / total:.1%}", f"{one.calls:,}")
        for one in operations[:SHOWN]
    ]
    rest = operations[SHOWN:]
    if rest:
        seconds = sum(one.seconds for one in rest)
        rows.append(
            (
                f"{len(rest)} others",
                f"{1e3 * seconds:,.2f}",
                f"{seconds / total:.1%}",
                f"{sum(one.calls for one in rest):,}",
            )
        )
    return text_table(rows)


def _lines(profile: ProfileData) -> Iterator[list[tuple[str, float, float]]]:
    """The operations of each line of a trace that has any."""
    on_device = any(_OF_DEVICES.match(plane.name) for plane in profile.planes)
    for plane in profile.planes:
        if on_device and not _OF_DEVICES.match(plane.name):
            continue
        for line in plane.lines:
            if (_OPERATIONS if on_device else _THREADS).match(line.name):
                yield [
                    (event.name, event.start_ns, event.duration_ns)
                    for event in line.events
                    if not _NO_OPERATION.search(event.name)
                ]
