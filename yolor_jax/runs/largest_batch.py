"""The largest batch whose training step fits into the memory of the devices.

    largest_batch(recipe, num_classes=3, images=205)    # 96

Nothing is run: XLA says what a compiled step needs. The state stays and the rest grows with the
batch, so that two small batches say where to look, and the batch found there is tried.
"""

import os
from collections.abc import Callable

from jax.sharding import Mesh

from yolor_jax.errors import InputError
from yolor_jax.progress import Say, silent
from yolor_jax.runs import programs
from yolor_jax.runs.recipe import Recipe
from yolor_jax.training import mesh as meshes
from yolor_jax.training.programs.cost import Memory, readable
from yolor_jax.training.programs.topology import DoesNotFit, compile_for_tpu

TIGHT = 0.9
"""Of a device's memory: a step that needs more leaves no room for batches that wait."""
TRIES = 5
"""Programs compiled at most, after that of the smallest batch."""


def largest_batch(recipe: Recipe, num_classes: int, images: int, say: Say = silent) -> int:
    """The largest batch that fits into `TIGHT` of the memory of each device that is here.

    Args:
        recipe: of the run; its own batch size does not count.
        num_classes: K.
        images: of the split to train on; no batch is larger.
        say: takes what is being compiled, which may take minutes.

    Returns:
        Images over all devices, a number that devices and mosaics can share evenly.

    Raises:
        InputError: not even the smallest batch fits, or there are fewer images than it has.
    """
    mesh = meshes.make_mesh(fsdp=recipe.mesh.fsdp)
    module = recipe.network(num_classes)
    available = device_bytes(mesh)

    def needed(batch_size: int) -> int:
        say(f"compiling the training step with {batch_size} images, to see whether it fits ...")
        try:
            return Memory.of(
                compile_for_tpu(programs.lower_step(recipe, module, mesh, batch_size))
            ).total
        except DoesNotFit as error:
            return error.needed

    sizes = in_eights(shared_evenly(recipe, mesh, images), mesh)
    if not sizes:
        raise InputError(
            f"{images} images to train on are fewer than the smallest batch that {mesh.size} "
            "devices and their mosaics can share; give --config.batch_size=N and fewer devices"
        )
    found = search(sizes, needed, TIGHT * available)
    if found is None:
        raise InputError(
            f"even a batch of {sizes[0]} needs more than {TIGHT:.0%} of the "
            f"{readable(available)} on each device; lower --config.image_size, or set "
            "--config.remat=."
        )
    return found


def shared_evenly(recipe: Recipe, mesh: Mesh, images: int) -> list[int]:
    """The batches, up to a number of images, that devices and mosaics can share evenly."""
    sizes = []
    for batch_size in range(mesh.size, images + 1, mesh.size):
        try:
            recipe.augment.require_groups(batch_size // mesh.size)
        except InputError:
            continue
        sizes.append(batch_size)
    return sizes


def in_eights(sizes: list[int], mesh: Mesh) -> list[int]:
    """Those of up to eight images on a device, and then multiples of that: odd ones are slower."""
    return [size for size in sizes if size <= 8 * mesh.size or size % (8 * mesh.size) == 0]


def search(sizes: list[int], needed: Callable[[int], int], room: float) -> int | None:
    """The largest of some sizes that needs no more than there is room for.

    Args:
        sizes: rising.
        needed: what a size needs; about linear in the size, and asked as seldom as possible.
        room: in the same unit.

    Returns:
        None where the first does not fit.
    """
    smallest, least = sizes[0], needed(sizes[0])
    if least > room:
        return None
    fitting, open_ = smallest, sizes[1:]
    guess = open_[:1]
    for _ in range(TRIES):
        if not guess:
            break
        [size] = guess
        need = needed(size)
        if need <= room:
            fitting, open_ = size, [other for other in open_ if other > size]
        else:
            open_ = [other for other in open_ if other < size]
        of_each = max(need - least, 1) / (size - smallest)
        most = smallest + (room - least) / of_each
        guess = [other for other in open_ if other <= most][-1:]
    return fitting


def device_bytes(mesh: Mesh) -> int:
    """Memory that JAX may use on a device; of a CPU, its share of the machine's."""
    device = mesh.local_devices[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(mesh.local_devices)
