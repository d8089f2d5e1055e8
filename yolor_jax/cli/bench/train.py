"""Measure the training of a recipe on this machine: speed, MFU, memory, waiting for data.

The real training step runs on the recipe's own data, as in training, without evaluations and
checkpoints. The peak is measured too: large matrix products in the dtype of the activations, on one
device. MFU is the FLOPs of the step, by XLA's count and without rematerialisation, as a share of
what all devices could do at that peak.

    yolor bench train --config configs/quickstart.py --steps 50
"""

import argparse
from typing import Any

from yolor_jax.cli import launch
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.cli.recipes import add_recipe_option, read_recipe
from yolor_jax.errors import InputError
from yolor_jax.progress import to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench train``."""
    add_recipe_option(parser, required=True)
    parser.add_argument("--steps", type=int, default=50, help="timed steps (%(default)s)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench train`` and returns 0.

    Raises:
        InputError: the recipe or its data cannot be used.
    """
    if args.steps < 1:
        raise InputError(f"--steps is {args.steps}; expected at least 1")
    save = figures_writer(args.json)
    from yolor_jax.bench.training import measure

    launch.quiet_libraries()
    recipe = read_recipe(args.config, args.settings)
    figures = measure(recipe, args.steps, say=to_stderr, progress=True)
    print(format_figures(figures))
    save(figures)
    return 0


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
