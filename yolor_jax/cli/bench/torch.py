"""Measure training and prediction beside the same network in PyTorch, on the same cores.

The network of the zoo is built a second time in PyTorch, from the same spec and weights. Both must
give the same loss and predictions; then they take turns, round after round. A training step is the
network, the loss, its gradient, SGD and the moving average, without augmentation; prediction is the
network with folded parameters and the decoding, without NMS. Needs PyTorch: the extra ``torch``.

    yolor bench torch --model yolor_nano --image-size 128 --batch-size 8 --threads 1
"""

import argparse
from typing import Any

from yolor_jax.cli.arguments import add_trial_arguments, require_trial
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench torch``."""
    add_trial_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench torch`` and returns 0.

    Raises:
        InputError: there is no such model, or a number that cannot be.
        ImportError: PyTorch is not installed.
    """
    from yolor_jax.runs.in_turn import take_cores
    from yolor_jax.runs.model_speed import Trial
    from yolor_jax.runs.torch_speed import measure

    save = figures_writer(args.json)
    require_trial(args)
    take_cores(args.threads)
    trial = Trial(args.model, args.image_size, args.batch_size, args.classes)
    figures = measure(trial, args.rounds)
    print(_table(args, figures))
    settings = trial._asdict() | {"rounds": args.rounds, "threads": args.threads}
    save({"settings": settings, **figures})
    return 0


def _table(args: argparse.Namespace, figures: dict[str, Any]) -> str:
    title = (
        f"{args.model}, {args.image_size} pixels, batches of {args.batch_size}, {args.threads} "
        f"threads; medians of {args.rounds} rounds, and our time by that of PyTorch's best"
    )
    cells = [("", *(f"{name}, ms" for name in figures["seconds"]["train"]), "ratio")]
    for what, label in (("train", "train step"), ("predict", "predict, folded")):
        times = (f"{1e3 * seconds:.1f}" for seconds in figures["seconds"][what].values())
        cells.append((label, *times, f"{figures['ratios'][what]:.2f}"))
    return f"{title}\n{text_table(cells)}"
