"""Exports models of the zoo at full width, and prints what their certificates say.

    python -m tests.exports.certify_zoo onnx 320,448 yolor_csp yolor_nano

Weights are random; batch norms have seen a picture, so that signals are of order one at any depth.
All models are tried where none is named: on idle cores, this takes hours at their own sizes.
"""

import dataclasses
import pathlib
import sys
import tempfile
import time

import jax
import numpy as np

from yolor_jax.exports import SUFFIXES
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs import certification
from yolor_jax.runs.trained import Trained
from yolor_jax.trees import flatten_by_path

CLASSES = 80


def moderate_network(name: str, side: int) -> Trained:
    """A network of random weights, with the statistics of one picture of so many pixels."""
    generator = np.random.default_rng(0)

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if path.endswith("kernel"):
            gain = 4.0 if path.startswith("params/head") else 1.0
            return generator.normal(size=shape) * np.sqrt(gain / np.prod(shape[:-1]))
        if path.endswith("bias") and path.startswith("params/head"):
            return generator.normal(-1, 0.5, shape)
        around = 1 if path.endswith(("scale", "var", "implicit_after/z")) else 0
        return around + 0.1 * generator.normal(size=shape)

    spec = find_spec(name)
    learning = build(dataclasses.replace(spec, bn_momentum=1.0), CLASSES)  # the last one counts
    shapes = variable_shapes(learning)
    leaves = [
        draw(path, leaf.shape).astype(np.float32) for path, leaf in flatten_by_path(shapes).items()
    ]
    variables = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    picture = np.float32(generator.uniform(size=(1, side, side, 3)))

    @jax.jit
    def see(variables, picture):
        return learning.apply(variables, picture, train=True, mutable=["batch_stats"])[1]

    variables = {"params": variables["params"], **jax.device_get(see(variables, picture))}
    meta = {
        "model": name, "implicit": None, "num_classes": CLASSES, "image_size": side,
        "class_names": [f"class {i}" for i in range(CLASSES)],
    }  # fmt: skip
    return Trained(spec, variables, meta).folded()


def main(format_: str, sizes: str, *names: str) -> None:
    """Prints a row for each model and size, and the borders that miss their tolerance."""
    for name in names or MODELS:
        trained = moderate_network(name, 256)
        for size in map(int, sizes.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, f"{name}{SUFFIXES[format_]}")
                started = time.perf_counter()
                file = trained.export(path, image_size=size)
                seconds = time.perf_counter() - started
                megabytes = path.stat().st_size / 1e6
                pictures = certification.painted_pictures()
                nms = NmsConfig(score_threshold=0.1)
                certificate = certification.certify(trained, file, pictures, nms=nms)
            rows = {row["border"]: row for row in certificate["borders"]}
            logits = max(row["largest"] for border, row in rows.items() if "level" in border)
            errors = [logits, *(rows[name]["largest"] for name in ("boxes", "scores"))]
            missed = [border for border, row in rows.items() if not row["ok"]]
            print(
                f"{name} {size} {megabytes:.1f} MB {seconds:.1f} s",
                *(f"{error:.1e}" for error in errors),
                f"{certificate['detections']['matched']} matched",
                f"missed: {', '.join(missed) or 'nothing'}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
