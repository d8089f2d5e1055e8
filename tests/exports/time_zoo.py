"""Writes models of the zoo to ONNX and StableHLO: seconds and megabytes.

    python -m tests.exports.time_zoo yolor_csp yolor_nano

Folded networks of random weights with 80 classes, for one picture, without NMS, each once; all
models where none is named. The first one pays for the imports.
"""

import pathlib
import sys
import tempfile
import time

import jax
import numpy as np

from yolor_jax.exports import files
from yolor_jax.exports.form import Form
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.zoo import MODELS

CLASSES = 80


def row_of(name: str) -> tuple[str, ...]:
    """The model, its pixels, and for each format seconds and megabytes."""
    spec = find_spec(name)
    side = 1280 if spec.strides[-1] >= 64 else 640
    generator = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: (0.05 * generator.standard_normal(leaf.shape)).astype(np.float32),
        variable_shapes(build(spec, CLASSES, fused=True)),
    )
    meta = {
        "model": name, "implicit": None, "num_classes": CLASSES, "image_size": side,
        "class_names": [f"class {i}" for i in range(CLASSES)], "fused": True,
    }  # fmt: skip
    row = [name, str(side)]
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".onnx", ".zip"):
            path = pathlib.Path(folder, name + ending)
            started = time.perf_counter()
            files.write(path, spec, variables, meta, Form((side, side), 1))
            row += [f"{time.perf_counter() - started:.1f}", f"{path.stat().st_size / 1e6:.1f}"]
    return tuple(row)


if __name__ == "__main__":
    for model in sys.argv[1:] or MODELS:
        print(f"| {' | '.join(row_of(model))} |", flush=True)
