"""What both main files do around their work: compiled programs are kept on disk by default."""

import os
import pathlib
import subprocess
import sys

import jax

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
