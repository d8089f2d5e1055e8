"""Real processes that make one run on this machine, each with fake devices of its own."""

import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Sequence

from tests.support import compiling

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEVICES = 4


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def start(
    commands: Sequence[Sequence[str]],
    *,
    count: int | None = None,
    devices: Sequence[int] | None = None,
    folders: Sequence[pathlib.Path] | None = None,
) -> list[subprocess.Popen]:
    """Starts one process for each command.

    Args:
        commands: arguments of Python for each process; one command is a run without others.
        count: processes of the run, if not all of them are started.
        devices: fake devices of each process; `DEVICES` by default.
        folders: in which each process is started; the project's by default.
    """
    count = count or len(commands)
    coordinator = f"localhost:{free_port()}"
    processes = []
    for index, command in enumerate(commands):
        fake = devices[index] if devices else DEVICES
        environment = os.environ | {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={fake} " + compiling.QUICKLY,
        }
        if count > 1:
            environment |= {
                "JAX_COORDINATOR_ADDRESS": coordinator,
                "JAX_NUM_PROCESSES": str(count),
                "JAX_PROCESS_ID": str(index),
            }
        processes.append(
            subprocess.Popen(
                [sys.executable, *command], cwd=folders[index] if folders else ROOT,
                env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    return processes


def finish(processes: Sequence[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each; kills those that hang."""
    try:
        said = [process.communicate(timeout=900) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, said, strict=True)]
