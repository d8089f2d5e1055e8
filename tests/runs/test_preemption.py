"""SIGTERM as a question, and nothing of it left behind."""

import os
import signal
import time

import pytest

from yolor_jax.runs.preemption import Preemption, preemption, shared_preemption
from yolor_jax.training.mesh import make_mesh


def test_sigterm_is_remembered_and_the_handler_before_restored():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), preemption() as preempted:
        assert not preempted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preempted()
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) is before
    with preemption() as preempted:
        assert not preempted()


def test_work_that_can_be_done_again_is_cut_short():
    done = []

    def work():
        done.append("begun")
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except Exception:
            done.append("caught")  # no handler of errors may stop it
        done.append("ended")

    with preemption() as preempted:
        assert preempted.until(lambda: 5) == 5
        assert preempted.until(work) is None
        assert done == ["begun"] and preempted()
        assert preempted.until(work) is None  # not begun at all
        assert done == ["begun"]
        os.kill(os.getpid(), signal.SIGTERM)  # outside it is a flag again


def test_one_that_catches_nothing_lets_work_end():
    assert not Preemption()() and Preemption().until(lambda: 5) == 5


def test_several_processes_hear_of_it_later_and_cut_nothing_short():
    before = signal.getsignal(signal.SIGTERM)
    with shared_preemption(make_mesh()) as preempted:
        assert not preempted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert [preempted() for _ in range(4)] == [False, False, True, True]
        assert preempted.until(lambda: 5) == 5
    assert signal.getsignal(signal.SIGTERM) is before
