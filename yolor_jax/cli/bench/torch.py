"""Measure training and prediction beside the same network in PyTorch, on the same cores.

The network of the zoo is built a second time in PyTorch, from the same spec and weights. Both must
give the same loss and predictions; then they take turns, round after round. A training step is the
network, the loss, its gradient, SGD and the moving average, without augmentation; prediction is the
network with folded parameters and the decoding, without NMS. Needs PyTorch: the extra ``torch``.

    yolor bench torch --model yolor_nano --image-size 128 --batch-size 8 --threads 1
"""

import argparse
from typing import TYPE_CHECKING, Any

from yolor_jax.cli.bench import trial
from yolor_jax.cli.bench.trial import add_arguments as add_arguments

if TYPE_CHECKING:
    from yolor_jax.bench.model import Trial


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench torch``; returns and raises as `trial.compare`."""
    from yolor_jax.bench.torch import measure

    return trial.compare(args, measure, by="PyTorch's best", rows=_rows)


def _rows(figures: dict[str, Any], trial: "Trial") -> list[tuple[str, ...]]:
    rows = [("", *(f"{name}, ms" for name in figures["seconds"]["train"]), "ratio")]
    for what, label in (("train", "train step"), ("predict", "predict, folded")):
        times = (f"{1e3 * seconds:.1f}" for seconds in figures["seconds"][what].values())
        rows.append((label, *times, f"{figures['ratios'][what]:.2f}"))
    return rows
