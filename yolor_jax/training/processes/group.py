"""The processes of a run compare what must be equal, and end together.

    group = meet(place, timeout=50)  # see roll_call.py; ALONE where there is one process
    group.agree("code", {"jax": jax.__version__}, advice="Bring the same code to every host.")
    if group.is_first: ...  # one process writes files and speaks

Once the devices of several processes make one mesh, each step waits for all of them: what could
make the processes differ is therefore compared before. Each process keeps a line, plain TCP, to
process 0, which in each exchange hears everyone and then tells all of them the same.
"""

import json
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.training.processes.cluster import Place

GRACE = 10.0
"""Seconds that a process which ends waits for the others to end too."""
ANSWER = 5.0
"""Seconds beyond a deadline for the answer of process 0 to arrive."""


class Disagreement(InputError):
    """The processes of a run are not all there, differ in what must be equal, or one gave up."""


class Line:
    """Messages from one process to another and back."""

    def __init__(self, connection: socket.socket):
        """Take over a connection."""
        self._connection = connection
        self._received = b""

    def fileno(self) -> int:
        """For ``selectors``."""
        return self._connection.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send, if there is still someone at the other end; whether there is, `receive` tells."""
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass

    def receive(self, timeout: float | None) -> dict[str, Any] | None:
        """The next message; None if none arrives in so many seconds, or the other end is gone."""
        try:
            self._connection.settimeout(timeout)
            while b"\n" not in self._received:
                part = self._connection.recv(65536)
                if not part:
                    return None
                self._received += part
            line, _, self._received = self._received.partition(b"\n")
            message = json.loads(line)
        except (OSError, ValueError):  # from a program that is none of ours, perhaps
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class ProcessGroup:
    """The processes of a run, as one of them sees them.

    Attributes:
        place: of this process.
    """

    def __init__(self, place: Place, lines: Mapping[int, Line]):
        """See `roll_call.meet`.

        Args:
            place: of this process.
            lines: of process 0 to each other one, of any other one to process 0; by index.
        """
        self.place = place
        self._lines = dict(lines)
        self._parted = place.count == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.place.index == 0

    def agree(
        self, topic: str, facts: Mapping[str, str], *, advice: str, timeout: float | None
    ) -> None:
        """Compare facts with all other processes; all call this in the same order.

        Args:
            topic: what the facts are about.
            facts: by name.
            advice: what to do if they differ.
            timeout: seconds to wait for the others; None: as long as they live.

        Raises:
            Disagreement: says which facts differ between which processes, or who ended and why.
        """
        if self._parted:
            return
        problem = self._exchange({"topic": topic, "facts": dict(facts), "advice": advice}, timeout)
        if problem:
            raise Disagreement(problem)

    def part(self, reason: str, *, timeout: float | None = GRACE) -> bool:
        """Tell the others that this process ends, and why.

        Args:
            reason: a sentence for the others.
            timeout: seconds to wait until they have heard; None: as long as they live.

        Returns:
            Whether all others end too. Otherwise they may be waiting for this process's part of a
            step, and it must end without them.
        """
        if not self._parted:
            self._exchange({"topic": "end", "reason": reason}, timeout)
        return self._parted

    def close(self) -> None:
        """Hang up."""
        for line in self._lines.values():
            line.close()

    def _exchange(self, message: dict[str, Any], timeout: float | None) -> str:
        """Everyone's message to process 0, and its answer to all: what is wrong, or ""."""
        if self.place.index == 0:
            messages = {0: message} | _hear(self._lines, timeout)
            problem = _problem(messages, self.place.count)
            for line in self._lines.values():
                line.send({"problem": problem})
            complete = len(messages) == self.place.count
        else:
            line = self._lines[0]
            line.send(message)
            answer = line.receive(None if timeout is None else timeout + ANSWER)
            complete = answer is not None
            problem = answer["problem"] if complete else "process 0 does not answer: see its log"
        self._parted = bool(problem) and complete
        return problem


ALONE = ProcessGroup(Place("", count=1, index=0), lines={})
"""A process on its own: it agrees with itself, and nobody waits for it."""


def _hear(lines: Mapping[int, Line], timeout: float | None) -> dict[int, dict[str, Any]]:
    """A message from each process, in the order of processes; without those of whom none came."""
    deadline = None if timeout is None else time.monotonic() + timeout
    messages = {}
    with selectors.DefaultSelector() as selector:
        for index, line in lines.items():
            selector.register(line, selectors.EVENT_READ, index)
        while selector.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            ready = selector.select(left) if left is None or left > 0 else []
            if not ready:
                break
            for key, _ in ready:
                message = key.fileobj.receive(ANSWER)
                if message is not None:
                    messages[key.data] = message
                selector.unregister(key.fileobj)
    return dict(sorted(messages.items()))


def _problem(messages: Mapping[int, Mapping[str, Any]], count: int) -> str:
    """What is wrong with an exchange, as a sentence; "" if nothing is."""
    topic, advice = messages[0]["topic"], messages[0].get("advice", "")
    reasons: dict[str, int] = {}
    for index, message in messages.items():
        if "reason" in message:
            reasons.setdefault(message["reason"], index)
    if reasons:
        return "; ".join(f"process {index} gave up: {why}" for why, index in reasons.items())
    absent = [str(index) for index in range(count) if index not in messages]
    if absent:
        who = ", ".join(absent)
        return f"process {who} ended before it said its {topic}, or hangs: see its log"
    clauses = differences([messages[index]["facts"] for index in range(count)])
    if not clauses:
        return ""
    lines = "\n  ".join(clauses)
    return f"the processes of this run differ in {topic}:\n  {lines}\n{advice}"


def differences(facts: list[dict[str, str]]) -> list[str]:
    """One clause for each fact that is not the same in all processes.

    Args:
        facts: of each process, by name.

    Returns:
        Such as "jax: 0.10.2 in process 0, 1; 0.10.1 in process 2".
    """
    names = dict.fromkeys(name for one in facts for name in one)
    clauses = []
    for name in names:
        holders: dict[str, list[str]] = {}
        for index, one in enumerate(facts):
            holders.setdefault(one.get(name, "absent"), []).append(str(index))
        if len(holders) > 1:
            parts = [f"{value} in process {', '.join(who)}" for value, who in holders.items()]
            clauses.append(f"{name}: {'; '.join(parts)}")
    return clauses
