"""The bucket that these tests share; each has a folder of its own in it."""

import re

import pytest

from tests.support import local_bucket
from yolor_jax.paths import user_path

pytest.importorskip("gcp_storage_emulator", reason="no gcp-storage-emulator: pip install .[test]")


@pytest.fixture(scope="session", autouse=True)
def bucket_address():
    with local_bucket.serving() as address, pytest.MonkeyPatch.context() as patch:
        for name, value in local_bucket.environment(address).items():
            patch.setenv(name, value)
        yield address


@pytest.fixture
def place(request):
    """A path in the bucket where nothing is."""
    name = re.sub(r"\W", "-", request.node.name)
    return user_path(f"{local_bucket.BUCKET}/{name}")
