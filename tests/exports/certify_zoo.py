"""Exports models of the zoo at full width to ONNX, and compares them with float64.

    python -m tests.exports.certify_zoo 320,448 yolor_csp yolor_nano

Weights are random; batch norms have seen the pictures that are compared, so that signals are of
order one and each weight matters. Such networks multiply a rounding by thousands, trained ones by
tens: logits of float32 are then wrong by more than a tolerance for trained networks, in whatever
runtime. So the file is held to the same network in float64, which PyTorch computes
(`yolor_jax.beside`): its logits may be further from it than ours are by `TWICE` at most. Boxes and
scores are held to our decoding of the file's own logits.

All models are tried where none is named: on idle cores, this takes hours at their own sizes.
"""

import dataclasses
import pathlib
import sys
import tempfile
import time

import jax
import numpy as np
import torch

from yolor_jax.beside.network import Network, load
from yolor_jax.data.letterbox import letterbox
from yolor_jax.exports.certificate import EXACT, Differences
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import DECODED, stages_of
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs import certification
from yolor_jax.runs.trained import Trained
from yolor_jax.trees import flatten_by_path

CLASSES = 80
PICTURES = 2
TWICE = 2.0


def canvases_of(side: int) -> np.ndarray:
    """Painted pictures, letterboxed."""
    pictures = [image for _, image in certification.painted_pictures()]
    return np.stack([letterbox(image, (side, side))[0] for image in pictures])


def moderate_network(name: str, side: int, *, seed: int = 0) -> Trained:
    """A network of random weights, with the statistics of painted pictures of so many pixels."""
    generator = np.random.default_rng(seed)

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

    @jax.jit
    def see(variables, images):
        return learning.apply(variables, images, train=True, mutable=["batch_stats"])[1]

    statistics = jax.device_get(see(variables, np.float32(canvases_of(side)) / 255))
    variables = {"params": variables["params"], **statistics}
    meta = {
        "model": name, "implicit": None, "num_classes": CLASSES, "image_size": side,
        "class_names": [f"class {i}" for i in range(CLASSES)],
    }  # fmt: skip
    return Trained(spec, variables, meta).folded()


@torch.inference_mode()
def in_float64(trained: Trained, canvases: np.ndarray) -> list[np.ndarray]:
    """The logits of all levels, [B, h, w, A, 5 + K]."""
    network = Network(trained.spec, CLASSES, fused=True)
    load(network, trained.variables)
    images = torch.tensor(canvases).permute(0, 3, 1, 2).double() / 255
    return [level.permute(0, 2, 3, 1, 4).numpy() for level in network.double().eval()(images)]


def differences_of(trained: Trained, path: pathlib.Path, side: int) -> Differences:
    """The largest differences of the file, and of the network itself from float64."""
    file = trained.export(path, image_size=side)
    stages = stages_of(trained.module, trained.variables, Form((side, side)))
    network, decode = jax.jit(stages.network), jax.jit(stages.decode)
    found = Differences()
    with jax.default_matmul_precision("highest"):
        for canvas in canvases_of(side)[:PICTURES, None]:
            given = file.compute(file.form.as_taken(canvas), (*file.level_names, *DECODED))
            levels = tuple(given[name] for name in file.level_names)
            exact = in_float64(trained, canvas)
            for ours, theirs, true in zip(network(canvas), levels, exact, strict=True):
                found.note("logits", true)
                found.note("network", np.asarray(ours) - true)
                found.note("file", theirs - true)
            decoded = jax.device_get(decode(levels))
            found.note_decoded(" of its logits", decoded, (given["boxes"], given["scores"]))
    return found


def main(sizes: str, *names: str) -> int:
    """Prints a row for each model and size; 1 where one of them misses."""
    failed = 0
    for name in names or MODELS:
        trained = moderate_network(name, 256)
        for side in map(int, sizes.split(",")):
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, f"{name}.onnx")
                found = {
                    what: most for what, (most, _) in differences_of(trained, path, side).items()
                }
                megabytes = path.stat().st_size / 1e6
            pixels, scores = found["boxes of its logits"], found["scores of its logits"]
            ok = found["file"] <= TWICE * found["network"]
            ok &= pixels <= EXACT.pixels and scores <= EXACT.scores
            failed |= not ok
            print(
                f"| {name} | {side} | {megabytes:.1f} | {found['logits']:.0f} "
                f"| {found['network']:.1e} | {found['file']:.1e} | {pixels:.1e} | {scores:.1e} "
                f"| {'ok' if ok else 'NOT ok'} | {time.perf_counter() - started:.0f} s",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
