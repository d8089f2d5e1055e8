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


TESTS = pathlib.Path(__file__).resolve().parent
SHARED = pathlib.Path(os.environ.get("YOLOR_SHARED", TESTS.parents[1] / "shared"))


class StoredHere(type(pathlib.Path())):
    """A path in the small set of golden files of this repository; what is not in it is skipped."""

    def __truediv__(self, name):
        path = super().__truediv__(name)
        if not path.exists():
            pytest.skip(
                f"{path} is not in the small set: set YOLOR_SHARED to the large one's folder"
            )
        return path


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real images and of all golden files (environment variable YOLOR_SHARED)."""
    if not SHARED.is_dir():
        pytest.skip(f"no real images at {SHARED}: set YOLOR_SHARED to their folder")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The golden files computed with the original implementation: all, or those stored here."""
    folder = SHARED / "golden"
    return folder if folder.is_dir() else StoredHere(TESTS / "golden")


@pytest.fixture(scope="module")
def compilation_cache(tmp_path_factory):
    """The runs of one file share their programs."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    yield
    jax.config.update("jax_compilation_cache_dir", None)
