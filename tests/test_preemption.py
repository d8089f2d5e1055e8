"""SIGTERM as a question, and nothing of it left behind."""

import os
import signal

import pytest

from yolor_jax.cli.preemption import preemption


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
