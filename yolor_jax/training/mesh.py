"""Devices as a mesh with the axes ``data`` and ``fsdp``, and what lies where on it.

A batch is cut along axis 0 over both axes. Each large leaf of the state is cut over ``fsdp`` (fully
sharded data parallelism; Rajbhandari et al., "ZeRO", 2020, stage 3) and whole along ``data``; the
small ones are whole everywhere, as is all of the state where ``fsdp`` is 1. Because the step is one
program over the global batch, batch statistics and losses are those of the global batch.

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
LARGE = 2048
"""Elements from which on a leaf is cut: fewer are not worth a message between devices."""
CALLS_AGO = 2
"""See `any_process`."""


def make_mesh(devices: Sequence[jax.Device] | None = None, *, fsdp: int = 1) -> Mesh:
    """A mesh over all devices, those of one process side by side.

    So each process holds consecutive rows of the batch, whatever numbers its devices have, and
    where ``fsdp`` divides a process's devices the state is put together without leaving a host.

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
    grid = np.asarray(sorted(devices, key=_process_first)).reshape(-1, fsdp)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto, AxisType.Auto))


def _process_first(device) -> tuple[int, int]:
    """The order of devices: on a TPU the ids of one host's chips need not follow each other."""
    return device.process_index, device.id


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what is whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of everything whose axis 0 is the batch: cut over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def over_batch(mesh: Mesh, function: Callable) -> Callable:
    """Each device works on its own part of a batch, without a word to the others.

    Args:
        mesh: the devices.
        function: ``(variables, *arrays) -> arrays``, where axis 0 of all arrays is the batch.

    Returns:
        The function of the global arrays, to be jitted; the variables are whole on every device.
    """
    uncut, cut = PartitionSpec(), PartitionSpec(AXES)

    @functools.wraps(function)  # its name is what the log of compilations shows
    def mapped(variables: PyTree, *arrays: Array) -> PyTree:
        specs = (uncut, *(cut for _ in arrays))
        part = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=cut)
        return part(variables, *arrays)

    return mapped


def state_sharding(mesh: Mesh, state: PyTree) -> PyTree:
    """The sharding of each leaf of a train state.

    A leaf of at least ``LARGE`` elements is cut over ``fsdp`` along the largest of the axes that
    can be cut evenly, the first of these where several are equal; every other leaf is whole. The
    rule sees shapes alone, so a parameter, its average, its momentum and its gradient lie alike.

    Args:
        mesh: the devices.
        state: arrays or ``jax.ShapeDtypeStruct``; parameters alone do as well.

    Returns:
        A tree like ``state`` with a ``NamedSharding`` at each leaf.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _fsdp_spec(mesh, leaf.shape)), state)


def _fsdp_spec(mesh: Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    """See `state_sharding`."""
    parts = mesh.shape["fsdp"]
    even = [axis for axis, length in enumerate(shape) if length % parts == 0]
    if parts == 1 or not even or math.prod(shape) < LARGE:
        return PartitionSpec()
    axis = max(even, key=lambda axis: shape[axis])
    return PartitionSpec(*(None,) * axis, "fsdp")


def whole(mesh: Mesh, tree: PyTree) -> PyTree:
    """The same arrays, whole on every device; all processes must call this together.

    Args:
        mesh: the devices.
        tree: arrays on these devices, or on the host and then alike in every process.
    """
    return jax.jit(_same, out_shardings=replicated(mesh))(tree)


def _same(tree: PyTree) -> PyTree:
    return tree


def any_process(mesh: Mesh, question: Callable[[], bool]) -> Callable[[], bool]:
    """A question to which all processes get the same answer: whether any of them says yes.

    The answer is that of `CALLS_AGO` calls before, by when the devices have long agreed on it: what
    is under way on them is not waited for. All processes must ask equally often.

    Args:
        mesh: the devices of all processes.
        question: what each process asks itself.
    """
    together = jax.jit(jnp.any, out_shardings=replicated(mesh))
    waiting = collections.deque()

    def answer() -> bool:
        own = np.full(len(mesh.local_devices), question())
        said = jax.make_array_from_process_local_data(batch_sharding(mesh), own)
        waiting.append(together(said))
        return len(waiting) > CALLS_AGO and bool(waiting.popleft())

    return answer


def require_divisible(mesh: Mesh, batch_size: int) -> None:
    """Raise an InputError unless a global batch can be cut evenly over the devices."""
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
        batch: NumPy arrays: this process's part of the global batch, which is the whole batch where
            there is one process.

    Returns:
        The global batch as device arrays, cut along axis 0.

    Raises:
        InputError: if the batch cannot be cut evenly.
    """
    require_divisible(mesh, batch.image.shape[0] * jax.process_count())
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
