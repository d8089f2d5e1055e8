"""Measure speed and memory on this machine.

yolor bench model yolor_nano --image-size 128 --batch-size 32 --classes 6
yolor bench data data/coco
yolor bench metrics
yolor bench train --config configs/quickstart.py
yolor bench detect photos/ --checkpoint runs/first
yolor bench export --model yolor_nano --image-size 128 --batch-size 8
yolor bench torch --model yolor_nano --image-size 128 --batch-size 8
yolor bench device --out device.json
"""

import argparse

from yolor_jax.cli.commands import add_commands

COMMANDS = {
    "model": "yolor_jax.cli.bench.model",
    "data": "yolor_jax.cli.bench.data",
    "metrics": "yolor_jax.cli.bench.metrics",
    "train": "yolor_jax.cli.bench.train",
    "detect": "yolor_jax.cli.bench.detect",
    "export": "yolor_jax.cli.bench.export",
    "torch": "yolor_jax.cli.bench.torch",
    "device": "yolor_jax.cli.bench.device",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the subcommands of ``yolor bench``."""
    add_commands(parser, COMMANDS, "bench")


def run(args: argparse.Namespace) -> int:
    """Runs the subcommand and returns its exit code."""
    return args.run_bench(args)
