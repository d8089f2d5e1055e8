"""Devices as a mesh with the axes ``data`` and ``fsdp``, and what lies where on it.

A batch is cut along axis 0 over both axes; the state is whole on every device. Because the step is
one program over the global batch, batch statistics and losses are those of the global batch.

    mesh = make_mesh()
    batch = shard_batch(mesh, batch)  # NumPy on the host -> global arrays on the devices
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from yolor_jax.data.example import Batch

AXES = ("data", "fsdp")


def make_mesh(devices: Sequence[jax.Device] | None = None, *, fsdp: int = 1) -> Mesh:
    """A mesh over all devices.

    Args:
        devices: the devices; all of all processes if None.
        fsdp: length of the axis ``fsdp``; must divide the number of devices.

    Returns:
        A mesh of shape ``(devices / fsdp, fsdp)``.

    Raises:
        ValueError: if ``fsdp`` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    if len(devices) % fsdp:
        raise ValueError(
            f"fsdp is {fsdp}, which does not divide {len(devices)} devices: choose a divisor."
        )
    grid = np.asarray(devices).reshape(-1, fsdp)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto, AxisType.Auto))


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
    whole, cut = PartitionSpec(), PartitionSpec(AXES)

    def mapped(variables: PyTree, *arrays: Array) -> PyTree:
        specs = (whole, *(cut for _ in arrays))
        part = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=cut)
        return part(variables, *arrays)

    return mapped


def state_sharding(mesh: Mesh, state: PyTree) -> PyTree:
    """The sharding of each leaf of a train state (arrays or ``ShapeDtypeStruct``): replicated."""
    return jax.tree.map(lambda _: replicated(mesh), state)


def require_divisible(mesh: Mesh, batch_size: int) -> None:
    """Raise a ValueError unless a global batch can be cut evenly over the devices."""
    if batch_size % mesh.size:
        below, above = batch_size // mesh.size * mesh.size, -(-batch_size // mesh.size) * mesh.size
        near = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
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
        ValueError: if the batch cannot be cut evenly.
    """
    require_divisible(mesh, batch.image.shape[0] * jax.process_count())
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)
