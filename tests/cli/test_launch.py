"""What both main files do around their work: compiled programs are kept on disk by default."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from yolor_jax.cli import launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import jax
from yolor_jax.cli import launch
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
def work(group):
    print(jax.jit(lambda x: x * 2.0)(21.0))
raise SystemExit(launch.together("train", work, {}))
"""


def run(home):
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment = kept | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "42.0\n"), done.stderr


def test_a_command_keeps_what_it_compiles_in_the_user_s_cache(tmp_path):
    run(tmp_path)
    assert list((tmp_path / ".cache" / "yolor_jax" / "compiled").glob("*-cache"))


def test_the_environment_says_another_place(monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")  # which JAX reads by itself
    launch.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before


FLAG = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"


@pytest.fixture
def flags(monkeypatch):
    """XLA's flags after the CPU was made ready, in a process that has not imported JAX."""

    def after(own="", version="0.10.2", platforms="cpu"):
        monkeypatch.setenv("XLA_FLAGS", own)
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        monkeypatch.delitem(sys.modules, "jax", raising=False)
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        launch.ready_the_cpu()
        return os.environ["XLA_FLAGS"]

    return after


def test_commands_on_a_cpu_convolve_with_eigen_beside_a_user_s_flags(flags):
    assert flags() == FLAG
    assert flags("--xla_a=1") == f"--xla_a=1 {FLAG}"


def test_a_user_s_own_choice_of_library_wins(flags):
    own = "--xla_cpu_experimental_ynn_fusion_type="
    assert flags(own) == own


def test_a_jaxlib_that_may_not_know_the_flag_does_not_get_it(flags):
    assert flags(version="0.11.0") == ""


def test_an_accelerator_gets_no_flag_of_the_cpu(flags):
    assert flags(platforms="tpu") == ""


def test_the_installed_jaxlib_takes_the_flag():
    program = """
from yolor_jax.cli import launch
launch.ready_the_cpu()
import jax
print(jax.numpy.zeros(2).sum())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "0.0\n"), done.stderr
