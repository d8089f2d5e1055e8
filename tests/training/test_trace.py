"""A trace of some steps, and the table of the most expensive operations."""

import jax
import jax.numpy as jnp
import pytest

from yolor_jax.paths import user_path
from yolor_jax.training.trace import (
    Operation,
    Steps,
    format_operations,
    own_times,
    traced,
    traced_steps,
)


def test_an_event_has_the_time_that_is_not_of_those_inside_it():
    events = [
        ("after", 100.0, 10.0),
        ("inner", 20.0, 30.0),
        ("outer", 0.0, 100.0),
        ("innermost", 25.0, 5.0),
        ("inner", 60.0, 10.0),
    ]
    assert sorted(own_times(events)) == [
        ("after", 10),
        ("inner", 10),
        ("inner", 25),
        ("innermost", 5),
        ("outer", 60),
    ]
    assert list(own_times([])) == []


@pytest.mark.parametrize("text", ["", "100", "10:10", "20:10", "-1:3", "a:b", "1:2:3"])
def test_what_names_no_steps(text):
    assert traced_steps(text) is None


def test_the_table_ends_in_what_is_left_out():
    operations = [Operation(f"op{i}", 1e-3 * (20 - i), i + 1) for i in range(14)]
    lines = format_operations(operations).splitlines()
    assert len(lines) == 1 + 12 + 1
    assert lines[1].split() == ["op0", "20.00", "10.6%", "1"]
    assert lines[-1].split() == ["2", "others", "15.00", "7.9%", "27"]


def test_some_steps_of_a_run_are_traced(tmp_path):
    said = []

    @jax.jit
    def product(x):
        return jnp.tanh(x @ x) / 64, {}

    def advance(state, batch):
        return product(state)

    state, states = jnp.ones((64, 64)), []
    steps = traced_steps("4:6")
    assert steps == Steps(4, 6)
    with traced(advance, 3, steps, user_path(tmp_path / "profile"), said.append) as step:
        for number in range(4, 9):
            state, _ = step(state, None)
            states.append(state)
            assert bool(said) == (number >= 6)
    plain = jnp.ones((64, 64))
    for traced_state in states:
        plain, _ = product(plain)
        assert jnp.array_equal(plain, traced_state)
    assert "dot" in said[0] or "fusion" in said[0]
    assert str(tmp_path / "profile") in said[1]
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_a_run_that_stops_in_a_trace_leaves_one(tmp_path):
    said = []
    with traced(lambda s, b: (s + 1, {}), 0, Steps(1, 9), user_path(tmp_path), said.append) as step:
        state = step(step(jnp.zeros(3), None)[0], None)[0]
    assert float(state[0]) == 2
    assert list(tmp_path.rglob("*.xplane.pb"))
