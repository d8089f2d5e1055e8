"""A bucket for the tests: a process of its own, which outlives the runs that are killed."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from tests.support.launching import free_port

SERVER = pathlib.Path(__file__).with_name("bucket_server.py")
BUCKET = "gs://test-bucket"


def environment(address: str) -> dict[str, str]:
    """What leads gcsfs, TensorStore and Google's own library to a server on this machine."""
    return {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # else gcsfs waits a minute for gRPC
        "GOOGLE_CLOUD_PROJECT": "x",
        "FSSPEC_GS_TOKEN": "anon",
        "FSSPEC_GCS_TOKEN": "anon",
    }


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Starts a server with the empty bucket `BUCKET`; its address."""
    address = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen([sys.executable, str(SERVER), address.rpartition(":")[2]])
    try:
        while not _answers(address):
            assert process.poll() is None, "the server has ended"
            time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def ask(what: str) -> None:
    """Asks the server of this process's environment for a fault (see bucket_server.py)."""
    urllib.request.urlopen(f"{os.environ['STORAGE_EMULATOR_HOST']}/{what}").close()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except OSError:
        return False
    return True
