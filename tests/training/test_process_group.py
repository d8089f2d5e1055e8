"""The processes of a run, played by threads: who comes, who does not, and what each is told."""

import socket
import threading
import time

import pytest

from tests.support import launching
from yolor_jax.training.processes import group as process_group
from yolor_jax.training.processes.cluster import Place
from yolor_jax.training.processes.group import Disagreement
from yolor_jax.training.processes.roll_call import meet


@pytest.fixture
def coordinator():
    return f"localhost:{launching.free_port()}"


def play(*parts):
    """What each part, a function, returns in a thread of its own, or why it disagrees."""
    results = [None] * len(parts)

    def one(position, part):
        try:
            results[position] = part()
        except Disagreement as error:
            results[position] = str(error)

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def call(*places, timeout=0.6):
    """The message that each place gets; None where all were there."""

    def one(place):
        return lambda: meet(place, timeout=timeout).close()

    return play(*map(one, places))


@pytest.fixture
def groups(coordinator):
    """Three processes that have met."""
    places = [Place(coordinator, 3, index) for index in range(3)]
    met = play(*(lambda place=place: meet(place, timeout=30.0) for place in places))
    yield met
    for group in met:
        group.close()


# Who is there


def test_all_come_in_any_order_and_leave_the_port_free(coordinator):
    places = [Place(coordinator, 4, index) for index in (3, 1, 0, 2)]
    assert call(*places, timeout=30.0) == [None] * 4
    socket.create_server(("", int(coordinator.rpartition(":")[2]))).close()


def test_one_that_never_comes_is_named_to_all_others(coordinator):
    told = call(Place(coordinator, 4, 0), Place(coordinator, 4, 2))
    assert told[0] == told[1]
    host = socket.gethostname()
    assert f"only 2 of 4 processes came to the coordinator {coordinator}" in told[0]
    assert f"process 0 on {host}, 2 on {host}. Absent: 1, 3." in told[0]


def test_process_0_never_comes(coordinator):
    (told,) = call(Place(coordinator, 2, 1))
    assert f"process 1 of 2 cannot reach process 0 at {coordinator} (Connection refused)" in told


def test_two_processes_of_one_index(coordinator):
    told = call(*(Place(coordinator, 3, index) for index in (0, 1, 1)), timeout=5.0)
    assert all("two processes say that they are process 1" in one for one in told)
    assert "number the processes 0 to 2" in told[0]


def test_different_counts(coordinator):
    told = call(Place(coordinator, 3, 0), Place(coordinator, 2, 1), timeout=5.0)
    assert told[0] == told[1]
    assert "was told that there are 2 processes, and process 0" in told[0]


def test_a_port_that_is_taken(coordinator):
    with socket.create_server(("", int(coordinator.rpartition(":")[2]))):
        (told,) = call(Place(coordinator, 2, 0))
    assert "process 0 cannot listen" in told and "choose another port" in told


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"[]\n", b'{"index": 1}\n', b""])
def test_strangers_are_ignored(coordinator, said):
    host, _, port = coordinator.rpartition(":")

    def stranger():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(said)
                return meet(Place(coordinator, 2, 1), timeout=5.0).close()
            except ConnectionRefusedError:
                time.sleep(0.02)

    first = lambda: meet(Place(coordinator, 2, 0), timeout=5.0).close()  # noqa: E731
    assert play(first, stranger) == [None, None]


# What they compare


def agree(group, facts, timeout=30.0, topic="recipe"):
    return lambda: group.agree(topic, facts, advice="Take one.", timeout=timeout)


def test_equal_facts_again_and_again(groups):
    for number in range(3):
        facts = {"number": str(number), "long": "x" * 100_000}
        assert play(*(agree(group, facts) for group in groups)) == [None] * 3


def test_everyone_hears_the_same_of_what_differs(groups):
    told = play(*(agree(g, {"rate": rate}) for g, rate in zip(groups, "121", strict=True)))
    sentence = "the processes of this run differ in recipe:\n  rate: 1 in process 0, 2; 2 in proc"
    assert told[0].startswith(sentence) and told[0].endswith("process 1\nTake one.")
    assert told == [told[0]] * 3
    assert all(group.part("anything") for group in groups), "all know already that they end"


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_gives_up_tells_the_others_why(groups, who):
    parts = [agree(group, {}, timeout=None) for group in groups]
    parts[who] = lambda: groups[who].part("no such data", timeout=None)
    told = play(*parts)
    assert told.pop(who) is True
    assert told == [f"process {who} gave up: no such data"] * 2


def test_one_that_is_gone_is_named(groups):
    groups[1].close()
    told = play(agree(groups[0], {}, timeout=None), agree(groups[2], {}, timeout=None))
    assert told == ["process 1 ended before it said its recipe, or hangs: see its log"] * 2


def test_process_0_is_gone(groups):
    groups[0].close()
    (told,) = play(agree(groups[1], {}, timeout=None))
    assert told == "process 0 does not answer: see its log"


def test_one_that_says_nothing_is_named_at_the_deadline(groups):
    told = play(agree(groups[0], {}, timeout=0.2), agree(groups[2], {}, timeout=0.2))
    assert told == ["process 1 ended before it said its recipe, or hangs: see its log"] * 2


def test_all_that_end_together_know_it(groups):
    reasons = ["the loss is not finite"] * 3
    parts = (lambda g=g, r=r: g.part(r) for g, r in zip(groups, reasons, strict=True))
    assert play(*parts) == [True] * 3


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_ends_while_the_others_work_knows_it(groups, who, monkeypatch):
    monkeypatch.setattr(process_group, "ANSWER", 0.1)
    assert groups[who].part("a broken disk", timeout=0.1) is False


def test_a_process_on_its_own_compares_and_waits_for_nothing():
    alone = process_group.ALONE
    alone.agree("anything", {"a": "b"}, advice="", timeout=None)
    assert alone.part("no reason", timeout=None) and alone.is_first


def test_differences_are_listed_by_who_holds_what():
    facts = [{"jax": "2", "n": "5", "x": "0"}, {"jax": "1", "n": "5"}, {"jax": "2", "n": "5"}]
    assert process_group.differences(facts) == [
        "jax: 2 in process 0, 2; 1 in process 1",
        "x: 0 in process 0; absent in process 1, 2",
    ]
    assert process_group.differences(facts[:1]) == []
