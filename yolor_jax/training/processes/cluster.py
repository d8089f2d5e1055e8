"""The place of a process in a run of several, as its environment tells.

    place = find_place(os.environ)      # Place("10.0.0.1:1234", count=4, index=2), or None: alone

JAX's own detection of SLURM and of TPU pods has no public name that answers before it connects; it
is used in this module only.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jax._src.clusters import GceTpuCluster, GkeTpuCluster, SlurmCluster

from yolor_jax.errors import InputError

VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_METADATA_TIMEOUT = 60


class Place(NamedTuple):
    """The place of a process in a run.

    Attributes:
        coordinator: ``host:port`` at which process 0 can be reached by all.
        count: number of processes.
        index: of this process, 0 .. count - 1.
    """

    coordinator: str
    count: int
    index: int


def find_place(environment: Mapping[str, str]) -> Place | None:
    """The place of this process.

    In this order: the three variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID;
    a SLURM step of several tasks; a TPU pod slice.

    Args:
        environment: variables of the process.

    Returns:
        The place, or None where there is one process only.

    Raises:
        InputError: the three variables are incomplete or contradict each other.
    """
    given = [environment.get(name) for name in VARIABLES]
    if any(given):
        return _from_variables(given)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        clusters = (SlurmCluster,)
    else:
        clusters = (GkeTpuCluster, GceTpuCluster)
    for cluster in clusters:
        if cluster.is_env_present() and cluster.get_process_count() > 1:
            port = environment.get("JAX_COORDINATOR_PORT")
            address = cluster.get_coordinator_address(_METADATA_TIMEOUT, port)
            return Place(address, cluster.get_process_count(), cluster.get_process_id())
    return None


def _from_variables(given: list[str | None]) -> Place | None:
    """See `find_place`."""
    shown = ", ".join(f"{n}={v or ''}" for n, v in zip(VARIABLES, given, strict=True))
    try:
        coordinator, count, index = given[0], int(given[1]), int(given[2])
        port = int(coordinator.rpartition(":")[2])
    except (AttributeError, TypeError, ValueError):
        port = count = index = 0
    if not 0 < port < 65536 or not 0 <= index < count:
        raise InputError(
            f"got {shown}; expected the host:port of process 0, the number of processes, and the "
            "index of this one, from 0"
        )
    return Place(coordinator, count, index) if count > 1 else None
