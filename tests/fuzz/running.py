"""Runs a command on spoilt inputs, in a process that may crash, hang or eat memory."""

import collections
import contextlib
import io
import multiprocessing
import pathlib
import resource
import tempfile
import time
import traceback

import numpy as np

COUNTS = {"annotations": 2000, "images": 2000, "weights": 1000, "zips": 300, "prepared": 300}
SECONDS = 20  # for one input
MEMORY = 2 << 30  # bytes beyond what the libraries take


def fuzz(kind: str, numbers: range, seed: int, seconds: float = float("inf")) -> list[str]:
    """Runs a command on spoilt inputs of one kind, and prints how many ended in which way.

    Args:
        kind: one of `COUNTS`.
        numbers: of the inputs.
        seed: of all of them.
        seconds: after which no further input is begun.

    Returns:
        A line for each finding.
    """
    end, counts, findings = time.monotonic() + seconds, collections.Counter(), []
    number = numbers.start
    while number < numbers.stop and time.monotonic() < end:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        arguments = (kind, range(number, numbers.stop), seed, end, sender)
        child = multiprocessing.get_context("spawn").Process(target=_work, args=arguments)
        child.start()
        sender.close()
        limit = 120  # the first one includes the imports
        while True:
            if not receiver.poll(limit):
                finding = f"no end after {limit} s"
                child.kill()
                break
            try:
                outcome = receiver.recv()
            except EOFError:
                child.join()
                finding = f"ended with exit code {child.exitcode}" if child.exitcode else None
                break
            limit = SECONDS
            number += 1
            counts[outcome if isinstance(outcome, int) else "finding"] += 1
            if not isinstance(outcome, int):
                findings.append(f"{kind} {number - 1}: {outcome}")
        if finding is None:
            break
        counts["finding"] += 1
        findings.append(f"{kind} {number}: {finding}")
        number += 1
    ends = ", ".join(f"{count} x {end}" for end, count in sorted(counts.items(), key=str))
    print(f"{kind}: {number - numbers.start} inputs; exit codes: {ends}", flush=True)
    return findings


def _work(kind: str, numbers: range, seed: int, end: float, sender) -> None:
    """In a process of its own: the inputs one by one; sends the exit code or the traceback."""
    from tests.fuzz.subjects import SUBJECTS

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        subject = SUBJECTS[kind](pathlib.Path(folder))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        for number in numbers:
            if time.monotonic() > end:
                break
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                outcome = _outcome(subject, np.random.default_rng([seed, number, *kind.encode()]))
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - used
            if peak > MEMORY:
                outcome = f"{peak >> 20} MiB of memory"
            if outcome == 2 and not said.getvalue().strip():
                outcome = "exit code 2 without a sentence"
            sender.send(outcome)
            if peak > MEMORY:
                break
    sender.close()


def _outcome(subject, rng: np.random.Generator) -> int | str:
    try:
        code = subject(rng)
    except SystemExit as error:
        code = error.code
    except BaseException:
        return traceback.format_exc()
    return code if code in (0, 1, 2) else f"exit code {code}"
