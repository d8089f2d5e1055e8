"""Measure each runtime that a network can be exported to, in turn, on the same cores.

Timed is the folded network from images to all decoded boxes, without NMS: ours by XLA, the
StableHLO file, the ONNX file by onnxruntime in float32 and int8, and PyTorch where it is installed.
What is float32 must first give the same boxes. Weights and images are random. Needs the extras
``onnx`` and ``export``.

    yolor bench export --model yolor_nano --image-size 128 --batch-size 8 --threads 1
"""

import argparse
from typing import TYPE_CHECKING, Any

from yolor_jax.cli.bench import trial
from yolor_jax.cli.bench.trial import add_arguments as add_arguments

if TYPE_CHECKING:
    from yolor_jax.bench.model import Trial


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench export``; returns and raises as `trial.compare`."""
    from yolor_jax.bench.export import measure

    return trial.compare(args, measure, by="each", rows=_rows)


def _rows(figures: dict[str, Any], trial: "Trial") -> list[tuple[str, ...]]:
    rows = [("", "ms", "images/s", "ratio", "MB")]
    for name, seconds in figures["seconds"].items():
        ratio, size = figures["ratios"].get(name), figures["megabytes"].get(name)
        rows.append(
            (
                name,
                f"{1e3 * seconds:.1f}",
                f"{trial.batch_size / seconds:.1f}",
                "" if ratio is None else f"{ratio:.2f}",
                "" if size is None else f"{size:.1f}",
            )
        )
    return rows
