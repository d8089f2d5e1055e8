"""Who is there, before JAX connects the processes of a run.

`jax.distributed.initialize` ends a process with a stack trace where another one never comes, and
cannot say which. So the processes first meet at the coordinator's address, by plain TCP:

    group = meet(Place("10.0.0.1:1234", count=4, index=2), timeout=50)

Process 0 listens, each other one reports there and waits; when all have come, or at the deadline,
process 0 tells everyone who is absent. Everybody gets the same sentence.
"""

import socket
import time

from yolor_jax.training.processes.cluster import Place
from yolor_jax.training.processes.group import ANSWER, Disagreement, Line, ProcessGroup

_RETRY = 0.2
_REPORT = {"index", "count", "host"}


def meet(place: Place, *, timeout: float) -> ProcessGroup:
    """The group of all processes, as soon as they are there.

    Args:
        place: of this process.
        timeout: seconds to wait for the others.

    Raises:
        Disagreement: a process is missing, two have the same index, they were told different
            counts, or process 0 cannot be reached; says who and what to check.
    """
    deadline = time.monotonic() + timeout
    if place.index:
        lines, problem = _report(place, deadline)
    else:
        lines, problem = _call(place, deadline)
        for line in lines.values():
            line.send({"problem": problem})
    group = ProcessGroup(place, lines)
    if problem:
        group.close()
        raise Disagreement(problem)
    return group


def _call(place: Place, deadline: float) -> tuple[dict[int, Line], str]:
    """Process 0: the lines of all that come, and what is wrong with them or ""."""
    hosts = {0: socket.gethostname()}
    lines: dict[int, Line] = {}
    with _listen(place) as server:
        while len(hosts) < place.count:
            server.settimeout(max(deadline - time.monotonic(), 1e-3))
            try:
                line = Line(server.accept()[0])
            except TimeoutError:
                return lines, _absent(place, hosts)
            report = line.receive(ANSWER)
            if report is None or report.keys() != _REPORT:  # a stranger
                line.close()
                continue
            problem = _contradiction(place, hosts, report)
            if problem:
                line.send({"problem": problem})
                return lines, problem
            hosts[report["index"]] = report["host"]
            lines[report["index"]] = line
    return lines, ""


def _report(place: Place, deadline: float) -> tuple[dict[int, Line], str]:
    """Another process: its line to process 0, and what that one says is wrong."""
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            connection = socket.create_connection(_split(place.coordinator), timeout=10 * _RETRY)
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            line = Line(connection)
            line.send({"index": place.index, "count": place.count, "host": socket.gethostname()})
            answer = line.receive(max(deadline - time.monotonic(), 0) + ANSWER)
            if answer is not None:
                return {0: line}, answer["problem"]
            reason = "it hung up"
            line.close()
        time.sleep(_RETRY)
    return {}, (
        f"process {place.index} of {place.count} cannot reach process 0 at {place.coordinator} "
        f"({reason}). Is process 0 running, is that address its own and the same for every "
        "process, and does no firewall close the port?"
    )


def _listen(place: Place) -> socket.socket:
    """The listening socket of process 0."""
    _, port = _split(place.coordinator)
    dual = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port),
            family=socket.AF_INET6 if dual else socket.AF_INET,
            dualstack_ipv6=dual,
            backlog=place.count,
        )
    except OSError as error:
        raise Disagreement(
            f"process 0 cannot listen at port {port} of {place.coordinator} ({error.strerror}): "
            "choose another port, the same for every process"
        ) from error


def _split(coordinator: str) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    return host.strip("[]"), int(port)


def _absent(place: Place, hosts: dict[int, str]) -> str:
    """Says who never came."""
    absent = ", ".join(str(i) for i in range(place.count) if i not in hosts)
    there = ", ".join(f"{index} on {hosts[index]}" for index in sorted(hosts))
    return (
        f"only {len(hosts)} of {place.count} processes came to the coordinator "
        f"{place.coordinator}: process {there}. Absent: {absent}. Was the command started for each "
        "of them, with this coordinator and its own index, and did none of them end with an error "
        "of its own?"
    )


def _contradiction(place: Place, hosts: dict[int, str], report: dict) -> str:
    """Says how a report does not fit; "" if it does."""
    index, count, host = report["index"], report["count"], report["host"]
    if count != place.count:
        return (
            f"process {index} on {host} was told that there are {count} processes, and process 0 "
            f"on {hosts[0]} that there are {place.count}: give all the same number"
        )
    if index in hosts:
        return (
            f"two processes say that they are process {index}, on {hosts[index]} and on {host}: "
            f"number the processes 0 to {count - 1}"
        )
    return ""
