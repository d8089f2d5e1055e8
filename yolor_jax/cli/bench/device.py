"""Measure an accelerator in one go: its ceiling, prediction, PyTorch, training, data, a trace.

Each part is written to the file when it is done. The same command again does what is missing, or
has failed. ``--small`` tries all of it with the smallest network, on a CPU too. --config names the
recipe whose data are fed to steps.

    yolor bench device --out device.json --minutes 8
    yolor bench device --out device.json --config coco640:yolor_csp --config.data.path=data/coco
"""

import argparse
import sys

from yolor_jax.cli.arguments import any_path
from yolor_jax.cli.output import figures_writer
from yolor_jax.cli.recipes import add_recipe_option, read_recipe
from yolor_jax.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench device``."""
    parser.add_argument(
        "--out", type=any_path, required=True, metavar="FILE", help="JSON that is added to"
    )
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="after which no part begins (%(default)s)"
    )
    add_recipe_option(parser, required=False)
    parser.add_argument("--small", action="store_true", help="the smallest network, as a trial")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench device``; returns 0, or 1 if a part is missing.

    Raises:
        InputError: the file cannot be written, or is of something else; no such recipe.
    """
    import jax

    from yolor_jax.bench.device import FULL, SMALL, measure

    if not args.minutes > 0:
        raise InputError(f"--minutes is {args.minutes}; expected more than 0")
    figures_writer(args.out)  # says now if it cannot be written

    def say(name: str) -> None:
        print(f"{name} ...", file=sys.stderr, flush=True)

    recipe = read_recipe(args.config or "quickstart", args.settings)
    print(f"on {jax.devices()[0].device_kind}", file=sys.stderr)
    sizes = SMALL if args.small else FULL
    missing = measure(args.out, sizes, recipe, minutes=args.minutes, say=say)
    if missing:
        print(f"missing or failed in {args.out}, do it again: {', '.join(missing)}")
        return 1
    print(f"all parts are in {args.out}")
    return 0
