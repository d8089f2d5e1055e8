"""Test set-up: strict JAX, eight fake CPU devices, shape checking on, and the golden files."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 "
    "--xla_backend_optimization_level=0"  # compiling is what takes the time
)

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("yolor_jax", "beartype.beartype")


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of golden files and real images (environment variable YOLOR_SHARED)."""
    root = pathlib.Path(__file__).resolve().parents[1]
    folder = pathlib.Path(os.environ.get("YOLOR_SHARED", root.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no golden files at {folder}: set YOLOR_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def golden(shared) -> pathlib.Path:
    """The golden files computed with the original implementation."""
    return shared / "golden"


@pytest.fixture(scope="module")
def compilation_cache(tmp_path_factory):
    """The runs of one file share their programs."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    yield
    jax.config.update("jax_compilation_cache_dir", None)
