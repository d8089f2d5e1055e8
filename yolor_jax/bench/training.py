"""How fast a recipe trains on this machine: images/s, MFU, memory, waiting for data.

    figures = measure(recipe, steps=50)
    figures["images_per_second"], figures["mfu"]

The real training step runs on the recipe's own data, as in training, without evaluations and
checkpoints. The peak is measured too: large matrix products in the dtype of the activations, on one
device. MFU is the FLOPs of the step, by XLA's count and without rematerialisation, as a share of
what all devices could do at that peak.
"""

import collections
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from yolor_jax.data.example import Batch
from yolor_jax.progress import Say, progress, silent
from yolor_jax.runs import programs, start
from yolor_jax.runs.batches import batch_reader
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import open_sources
from yolor_jax.training import mesh as meshes
from yolor_jax.training.learner import learner
from yolor_jax.training.loop import STEPS_AHEAD
from yolor_jax.training.programs.cost import Memory
from yolor_jax.training.step import Advance, make_advance

WARM_UP = 3  # steps before the clock starts
PRODUCTS = 8  # matrix products in one measurement of the peak
REPEATS = 5  # measurements of the peak, of which the fastest counts


def measure(
    recipe: Recipe, steps: int, *, say: Say = silent, progress: bool = False
) -> dict[str, Any]:
    """The figures of a recipe, by name.

    Args:
        recipe: of several sizes, the largest is measured.
        steps: timed ones.
        say: takes what is being compiled.
        progress: whether to show bars.

    Raises:
        InputError: the data or a setting cannot be used.
    """
    sources = open_sources(recipe.data, progress=progress)
    module = recipe.network(len(sources.class_names))
    trained = learner(module, recipe.task_loss, sources.identities)
    mesh = meshes.make_mesh(fsdp=recipe.mesh.fsdp)
    length = recipe.length(len(sources.train))
    programs.require_batch(recipe, mesh)
    shapes = programs.step_arguments(recipe, trained, run=length, mesh=mesh)
    every_size = programs.make_steps(recipe, trained, shapes[0], run=length, mesh=mesh)
    side = recipe.largest_side
    say(f"compiling the training step at {side} pixels ...")
    started = time.perf_counter()
    step = every_size[side].lower(*shapes).compile()
    compile_seconds = time.perf_counter() - started
    state = start.first_state(recipe, trained, length, mesh)
    read = batch_reader(recipe, sources.train)
    with contextlib.closing(read(workers=recipe.data.workers)) as batches:
        advance = make_advance(step, mesh, _key(recipe, mesh))
        seconds, waited = _time_steps(advance, state, batches, steps, progress)
    in_use = (mesh.local_devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    flops = programs.step_flops(recipe, module)
    peak = matrix_flops_per_second(module.dtype)
    return {
        "model": recipe.model.name,
        "image_size": side,
        "batch_size": recipe.batch_size,
        "dtype": str(jax.numpy.dtype(module.dtype)),
        "device": mesh.devices.flat[0].device_kind,
        "devices": mesh.size,
        "steps": steps,
        "images_per_second": recipe.batch_size * steps / seconds,
        "data_wait_share": waited / seconds,
        "flops_per_step": flops,
        "matrix_flops_per_second": peak,
        "mfu": utilisation(flops * steps, seconds, peak, mesh.size),
        "memory_bytes": Memory.of(step).total,
        "peak_bytes_in_use": in_use,
        "compile_seconds": compile_seconds,
    }


def _key(recipe: Recipe, mesh: Mesh) -> jax.Array:
    """The key of the run on every device: a compiled step takes its arguments where they lie."""
    return jax.device_put(jax.random.key(recipe.seed), meshes.replicated(mesh))


def _time_steps(
    advance: Advance, state: Any, batches: Iterator[Batch], count: int, shown: bool
) -> tuple[float, float]:
    """Seconds of ``count`` steps after `WARM_UP`, and those of them spent waiting for data."""
    pending = collections.deque()
    started = waited = 0.0
    for number in progress(range(WARM_UP + count), unit="step", disable=not shown):
        if number == WARM_UP:
            jax.block_until_ready(state)
            started, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        state, metrics = advance(state, batch)
        pending.append(metrics)
        # The device runs ahead of the host by as much as in training, and no further.
        if len(pending) > STEPS_AHEAD:
            jax.device_get(pending.popleft())
    jax.block_until_ready(state)
    return time.perf_counter() - started, waited


def utilisation(flops: float, seconds: float, peak: float, devices: int) -> float:
    """MFU: the FLOPs of all devices, as a share of what they could do in that time at their peak.

    Args:
        flops: of the work, over all devices.
        seconds: that it took.
        peak: FLOPs per second of one device.
        devices: their number.
    """
    return flops / (seconds * peak * devices)


def matrix_flops_per_second(dtype: Any, side: int | None = None) -> float:
    """What one device does at its best: the fastest of several runs of square matrix products.

    Args:
        dtype: of the matrices.
        side: of the matrices; 2048 on a CPU and 8192 elsewhere if None.
    """
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    matrix = jnp.full((side, side), 1.0 / side, dtype)

    @jax.jit
    def multiply(matrix):
        return jax.lax.fori_loop(0, PRODUCTS, lambda _, m: m @ matrix, matrix)

    jax.block_until_ready(multiply(matrix))
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(multiply(matrix))
        seconds.append(time.perf_counter() - started)
    return PRODUCTS * 2 * side**3 / min(seconds)
