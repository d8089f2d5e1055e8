"""What JAX compiles is counted, named, and told apart from what it finds in its cache."""

import jax
import jax.numpy as jnp
import pytest

from yolor_jax.training.programs import compile_log
from yolor_jax.training.programs.compile_log import CompileLog


@pytest.fixture
def cache(tmp_path):
    settings = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_once_then_found_then_not_at_all(cache, monkeypatch):
    monkeypatch.setattr(compile_log, "NOTABLE", 0.0)
    x = jax.block_until_ready(jnp.ones((5, 7)))

    def some_step(x):
        return jnp.sin(x) @ x.T

    step, said = jax.jit(some_step), []
    with CompileLog(said.append) as log:
        step(x)
        assert (log.compiled, log.cached) == (1, 0)
        step(x)
        assert (log.compiled, log.cached) == (1, 0)
        jax.clear_caches()
        jax.jit(some_step)(x)
        assert (log.compiled, log.cached) == (1, 1)
        jax.jit(lambda x: x - 2.0)(x)
        assert (log.compiled, log.cached) == (2, 1)
    jax.jit(lambda x: x + 1.0)(x)
    assert (log.compiled, log.cached) == (2, 1) and log.seconds > 0
    first, second, _ = said
    assert first.startswith("compiled some_step in ")
    assert second.startswith("loaded some_step from the compilation cache in ")
    assert log.summary().startswith("3 programs compiled in ")
    assert log.summary().endswith(" s, 1 of them from the cache")


def test_what_is_quick_is_counted_in_silence():
    said = []
    with CompileLog(said.append) as log:
        jax.jit(lambda x: x * 3.0)(jnp.ones(3))
    assert log.compiled > 0 and said == []
