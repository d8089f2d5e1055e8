"""Measure the training of a recipe on this machine: speed, MFU, memory, waiting for data.

The real training step runs on the recipe's own data, as in training, without evaluations and
checkpoints. The peak is measured too: large matrix products in the dtype of the activations, on one
device. MFU is the FLOPs of the step, by XLA's count and without rematerialisation, as a share of
what all devices could do at that peak.

    yolor bench train --config configs/quickstart.py --steps 50
"""

import argparse
import collections
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from yolor_jax.cli.figures import add_json_argument, figures_writer
from yolor_jax.cli.recipe_flags import add_recipe_argument, read_recipe
from yolor_jax.errors import CommandError, user_errors, user_errors_in

WARM_UP = 3  # steps before the clock starts
PRODUCTS = 8  # matrix products in one measurement of the peak
REPEATS = 5  # measurements of the peak, of which the fastest counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench train``."""
    add_recipe_argument(parser, required=True)
    parser.add_argument("--steps", type=int, default=50, help="timed steps (%(default)s)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench train`` and returns 0.

    Raises:
        CommandError: the recipe or its data cannot be used.
    """
    if args.steps < 1:
        raise CommandError(f"--steps is {args.steps}; expected at least 1")
    save = figures_writer(args.json)
    from yolor_jax.cli import launch
    from yolor_jax.runs import recipe

    launch.quiet_libraries()
    with user_errors():
        config = read_recipe(args)
        recipe.check(config)
        figures = measure(config, args.steps)
    print(format_figures(figures))
    save(figures)
    return 0


def measure(config: Any, steps: int) -> dict[str, Any]:
    """The figures of a recipe, by name.

    Args:
        config: the recipe; of several sizes, the largest is measured.
        steps: timed ones.

    Raises:
        InputError: the data or a setting cannot be used.
    """
    import jax

    from yolor_jax.runs import programs, recipe, start
    from yolor_jax.runs.batches import batch_reader
    from yolor_jax.training import mesh as meshes
    from yolor_jax.training.programs.cost import Memory

    sources = recipe.open_sources(config)
    module = recipe.detector(config, len(sources.class_names))
    mesh = meshes.make_mesh(fsdp=config.mesh.fsdp)
    length = recipe.run_length(config, len(sources.train))
    programs.require_batch(config, mesh)
    shapes = programs.step_arguments(config, module, run=length, mesh=mesh)
    every_size = programs.make_steps(config, module, shapes[0], run=length, mesh=mesh)
    side = programs.largest_side(config)
    print(f"compiling the training step at {side} pixels ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    step = every_size[side].lower(*shapes).compile()
    compile_seconds = time.perf_counter() - started
    state = start.first_state(config, module, length, mesh)
    read = batch_reader(config, sources.train)
    with contextlib.closing(read(workers=config.data.workers)) as batches:
        seconds, waited = _time_steps(config, mesh, step, state, batches, steps)
    in_use = (mesh.local_devices[0].memory_stats() or {}).get("peak_bytes_in_use")
    flops = programs.step_flops(config, module)
    peak = matrix_flops_per_second(module.dtype)
    return {
        "model": config.model.name,
        "image_size": side,
        "batch_size": config.batch_size,
        "dtype": str(jax.numpy.dtype(module.dtype)),
        "device": mesh.devices.flat[0].device_kind,
        "devices": mesh.size,
        "steps": steps,
        "images_per_second": config.batch_size * steps / seconds,
        "data_wait_share": waited / seconds,
        "flops_per_step": flops,
        "matrix_flops_per_second": peak,
        "mfu": utilisation(flops * steps, seconds, peak, mesh.size),
        "memory_bytes": Memory.of(step).total,
        "peak_bytes_in_use": in_use,
        "compile_seconds": compile_seconds,
    }


def _time_steps(
    config: Any, mesh: Any, step: Any, state: Any, batches: Iterator, count: int
) -> tuple[float, float]:
    """Seconds of ``count`` steps after `WARM_UP`, and those of them spent waiting for data."""
    import jax
    import tqdm

    from yolor_jax.training import mesh as meshes
    from yolor_jax.training.loop import STEPS_AHEAD

    key = jax.device_put(jax.random.key(config.seed), meshes.replicated(mesh))
    batches, pending = user_errors_in(batches), collections.deque()
    started = waited = 0.0
    for number in tqdm.trange(WARM_UP + count, unit="step", dynamic_ncols=True):
        if number == WARM_UP:
            jax.block_until_ready(state)
            started, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        state, metrics = step(state, meshes.shard_batch(mesh, batch), key)
        pending.append(metrics)
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
    import jax
    import jax.numpy as jnp

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


def format_figures(figures: dict[str, Any]) -> str:
    """A table for the terminal."""
    from yolor_jax.training.programs.cost import readable

    f = figures
    memory = readable(f["memory_bytes"])
    if f["peak_bytes_in_use"]:
        memory += f"; {readable(f['peak_bytes_in_use'])} in use at most"
    rows = {
        "images/s": f"{f['images_per_second']:,.1f}",
        "waiting for data": f"{f['data_wait_share']:.1%} of the time",
        "FLOPs of a step": f"{f['flops_per_step'] / 1e9:,.2f} GFLOP",
        "matrix products": f"{f['matrix_flops_per_second'] / 1e12:,.3f} TFLOP/s on one device",
        "MFU": f"{f['mfu']:.1%}",
        "memory of the step": f"{memory}, on each device",
        "compiled in": f"{f['compile_seconds']:,.1f} s",
    }
    title = (
        f"{f['model']}, {f['image_size']} pixels, batches of {f['batch_size']}, {f['dtype']}, on "
        f"{f['devices']} x {f['device']}; {f['steps']} steps"
    )
    return "\n".join([title, *(f"{name:20}{value}" for name, value in rows.items())])
