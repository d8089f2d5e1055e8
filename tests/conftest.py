"""Test set-up: strict JAX, eight fake CPU devices, shape checking on, and the golden files.

What is compiled is kept for the session, for all processes that run its tests or that these start;
longer where JAX_COMPILATION_CACHE_DIR names a folder.
"""

import functools
import os
import pathlib
import shutil
import tempfile

from tests.support import compiling, hub_server

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {compiling.QUICKLY}"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("yolor_jax", "beartype.beartype")

CACHE = "JAX_COMPILATION_CACHE_DIR"

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


@pytest.fixture
def own_cores():
    """For a command that stays on the cores that it takes; the tests behind it get theirs back."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


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


@pytest.fixture(scope="session")
def hub_on_this_machine():
    pytest.importorskip("huggingface_hub", reason="no huggingface_hub: pip install .[test]")
    with hub_server.serving() as server:
        yield server


@pytest.fixture
def served(hub_on_this_machine, tmp_path, monkeypatch):
    """The stand-in, empty, as the hub of this process, with a cache of its own and no token."""
    from huggingface_hub import constants

    server = hub_on_this_machine
    server.repositories.clear()
    server.asked.clear()
    server.status = None
    for name, value in {
        "ENDPOINT": server.address,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,  # the demo, in a test before, puts its process offline
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two tries
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return server


def pytest_configure(config):
    if CACHE not in os.environ:
        os.environ[CACHE] = tempfile.mkdtemp(prefix="compiled-for-tests-")
        config.add_cleanup(functools.partial(shutil.rmtree, os.environ[CACHE], ignore_errors=True))
    jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
