"""A mesh of devices with the axes ``data`` and ``fsdp``, and how batches and states are sharded.

A batch is sharded along axis 0 over both axes. Each large leaf of the state is sharded over
``fsdp`` (fully sharded data parallelism; Rajbhandari et al., "ZeRO", 2020, stage 3) and replicated
along ``data``; small leaves are replicated, as is the whole state where ``fsdp`` is 1. Because the
step is one program over the global batch, batch statistics and losses are those of the global
batch.

    mesh = make_mesh(fsdp=8)
    batch = shard_batch(mesh, batch)  # NumPy on the host -> global arrays on the devices
    shardings = state_sharding(mesh, abstract)
"""

import collections
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError

AXES = ("data", "fsdp")
SHARDED_SIZE = 2048
"""Elements from which on a leaf is sharded: fewer are not worth a message between devices."""
ANSWER_LAG = 2
"""Calls by which the answer of `any_process` lags, so that nobody waits for the devices."""


def make_mesh(devices: Sequence[jax.Device] | None = None, *, fsdp: int = 1) -> Mesh:
    """A mesh over all devices, in which those of one process are neighbours.

    Each process then holds consecutive rows of the batch, whatever ids its devices have, and where
    ``fsdp`` divides the number of a process's devices the state is gathered within one host.

    Args:
        devices: the devices, real or of a topology; all of all processes if None.
        fsdp: length of the axis ``fsdp``; must divide the number of devices.

    Returns:
        A mesh of shape ``(devices / fsdp, fsdp)``.

    Raises:
        InputError: if ``fsdp`` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    if fsdp < 1 or len(devices) % fsdp:
        divisors = [n for n in range(1, len(devices) + 1) if len(devices) % n == 0]
        raise InputError(
            f"fsdp is {fsdp}, which does not divide {len(devices)} devices: use one of {divisors}."
        )
    grid = np.asarray(sorted(devices, key=process_and_id)).reshape(-1, fsdp)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto, AxisType.Auto))


def process_and_id(device) -> tuple[int, int]:
    """The order of devices: on a TPU the ids of one host's chips need not be consecutive."""
    return device.process_index, device.id


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array of which every device holds a whole copy."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose axis 0 is the batch: divided among all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def map_shards(mesh: Mesh, function: Callable) -> Callable:
    """A function of a batch that each device computes for its own shard, without communication.

    Args:
        mesh: the devices.
        function: ``(variables, *arrays) -> arrays``, where axis 0 of all arrays is the batch.

    Returns:
        The function of the global arrays, to be jitted; the variables are replicated.
    """
    variables_spec, batch_spec = PartitionSpec(), PartitionSpec(AXES)

    @functools.wraps(function)  # the log of compilations shows its name
    def mapped(variables: PyTree, *arrays: Array) -> PyTree:
        specs = (variables_spec, *(batch_spec for _ in arrays))
        sharded = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=batch_spec)
        return sharded(variables, *arrays)

    return mapped


def state_sharding(mesh: Mesh, state: PyTree) -> PyTree:
    """The sharding of each leaf of a train state.

    A leaf of at least `SHARDED_SIZE` elements is sharded over ``fsdp`` along its largest axis that
    ``fsdp`` divides, the first where several are equal; every other leaf is replicated. The rule
    depends on shapes alone, so a parameter, its average, momentum and gradient are sharded alike.

    Args:
        mesh: the devices.
        state: arrays or ``jax.ShapeDtypeStruct``; parameters alone do as well.

    Returns:
        A tree like ``state`` with a ``NamedSharding`` at each leaf.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _fsdp_spec(mesh, leaf.shape)), state)


def _fsdp_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    """See `state_sharding`."""
    shards = mesh.shape["fsdp"]
    divisible = [axis for axis, length in enumerate(shape) if length % shards == 0]
    if shards == 1 or not divisible or math.prod(shape) < SHARDED_SIZE:
        return PartitionSpec()
    axis = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * axis, "fsdp")


def replicate(mesh: Mesh, tree: PyTree) -> PyTree:
    """Copy arrays to every device; all processes must call this together.

    Args:
        mesh: the devices.
        tree: arrays on these devices, or on the host and then equal in every process.
    """
    return jax.jit(_identity, out_shardings=replicated(mesh))(tree)


def _identity(tree: PyTree) -> PyTree:
    return tree


def any_process(mesh: Mesh, question: Callable[[], bool]) -> Callable[[], bool]:
    """Whether a question is true in any process; all processes get the same answer.

    It is the answer of `ANSWER_LAG` calls before, which the devices have computed by then: nobody
    waits for the steps that are under way on them. All processes must ask equally often.

    Args:
        mesh: the devices of all processes.
        question: what each process asks itself.
    """
    any_device = jax.jit(jnp.any, out_shardings=replicated(mesh))
    answers = collections.deque()

    def answer() -> bool:
        own = np.full(len(mesh.local_devices), question())
        all_processes = jax.make_array_from_process_local_data(batch_sharding(mesh), own)
        answers.append(any_device(all_processes))
        return len(answers) > ANSWER_LAG and bool(answers.popleft())

    return answer


def require_divisible(mesh: Mesh, batch_size: int) -> None:
    """Raise an InputError unless the number of devices divides a global batch size."""
    if batch_size % mesh.size:
        below, above = batch_size // mesh.size * mesh.size, -(-batch_size // mesh.size) * mesh.size
        near = f"{below} or {above}" if below else f"{above}"
        raise InputError(
            f"the batch size {batch_size} is not a multiple of the {mesh.size} devices that share "
            f"it: use {near}."
        )


def shard_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Put a host batch on the devices.

    Args:
        mesh: the devices.
        batch: NumPy arrays: this process's rows of the global batch; all rows if it is alone.

    Returns:
        The global batch as device arrays, sharded along axis 0.

    Raises:
        InputError: if the number of devices does not divide the batch size.
    """
    require_divisible(mesh, batch.image.shape[0] * jax.process_count())
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
