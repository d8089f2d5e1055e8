"""How fast a network finds boxes by each runtime that it can be exported to, on the same cores.

    take_cores(1)                                       # `bench.in_turn`, before JAX starts
    figures = measure(Trial("yolor_nano", image_size=128, batch_size=8), rounds=10)
    figures["ratios"]["onnxruntime"]                    # our time by that of onnxruntime

Timed is the folded network from uint8 images to all decoded boxes and scores, without NMS: ours,
as XLA compiles it; the StableHLO file; the ONNX file by onnxruntime in float32 and in int8; and
PyTorch where it is installed, eager, in two layouts. All get the same images. What is float32 must
first give the same boxes and scores. int8 gives others, and how good they are says the certificate
of a trained network.
"""

import importlib.util
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from yolor_jax import boxes
from yolor_jax.bench.in_turn import Call, in_turn, medians, ratio, require_same
from yolor_jax.bench.model import Trial, networks, random_batch
from yolor_jax.bench.torch import torch_predictions
from yolor_jax.exports.files import open_exported, write
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import DECODED, stages_of
from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.models.fold import fold

OURS, INT8 = "ours, by XLA", "onnxruntime, int8"
FILES = {"StableHLO file": (".zip", "float32"), "onnxruntime": (".onnx", "float32")}
FILES |= {INT8: (".onnx", "int8")}
"""Ending and dtype of the files, by the name of what runs them."""


def measure(trial: Trial, rounds: int) -> dict[str, Any]:
    """The figures: ``seconds`` and ``megabytes`` by name, ``ratios`` of our time by the others'.

    Raises:
        InputError: there is no such model, or it takes no such images.
        ImportError: the library of a format is not installed; names the extra.
        ArithmeticError: two do not compute the same.
    """
    module, fused = networks(trial)
    folded = fold(module.spec, _weights(module))
    images = random_batch(trial).image
    form = Form((trial.image_size, trial.image_size), trial.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        given, megabytes = _of_files(fused, folded, form, images, pathlib.Path(folder))
    ours = _ours(fused, folded, form, images)
    _require_all_same(ours(), {name: call for name, call in given.items() if name != INT8})
    if importlib.util.find_spec("torch"):
        theirs = torch_predictions(module.spec, trial.classes, folded, images)
        _require_all_same(ours(), {name: _as_decoded(call) for name, call in theirs.items()})
        given |= theirs
    seconds = in_turn({OURS: ours, **given}, rounds)
    return {
        "seconds": medians(seconds),
        "ratios": {name: ratio(seconds[OURS], seconds[name]) for name in given},
        "megabytes": megabytes,
    }


def _weights(module: Detector) -> dict[str, Any]:
    """Random kernels, and ones: signals of order one. To initialise a network would compile it."""
    generator = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) < 4 or leaf.shape[0] * leaf.shape[1] == 0:
            return np.ones(leaf.shape, np.float32)
        scale = np.sqrt(1 / np.prod(leaf.shape[:-1]))
        return np.float32(generator.normal(size=leaf.shape) * scale)

    return jax.tree.map(draw, variable_shapes(module))


def _ours(fused: Detector, folded: Mapping, form: Form, images: np.ndarray) -> Call:
    stages = stages_of(fused, folded, form)
    run = jax.jit(lambda images: stages.decode(stages.network(images)))
    images = jax.device_put(images)
    return lambda: run(images)


def _of_files(
    fused: Detector, folded: Mapping, form: Form, images: np.ndarray, folder: pathlib.Path
) -> tuple[dict[str, Call], dict[str, float]]:
    """What each file gives, and its size in MB."""
    classes = fused.num_classes
    meta = {"num_classes": classes, "class_names": [f"class {i}" for i in range(classes)]}
    calls, megabytes = {}, {}
    for name, (suffix, dtype) in FILES.items():
        path = folder / f"{dtype}{suffix}"
        more = {"calibration": images} if dtype == "int8" else {}
        own = Form(form.image_size, form.batch, dtype=dtype)
        write(path, fused.spec, folded, meta, own, **more)
        file = open_exported(path)
        calls[name] = _call(file.compute, images)
        megabytes[name] = path.stat().st_size / 1e6
    return calls, megabytes


def _call(compute: Callable, images: np.ndarray) -> Call:
    def call():
        given = compute(images, DECODED)
        return given["boxes"], given["scores"]

    return call


def _as_decoded(call: Call) -> Call:
    """PyTorch's rows x y w h objectness classes, as boxes and scores."""

    def decoded():
        rows = call().numpy()
        return boxes.cxcywh_to_xyxy(rows[..., :4]), rows[..., 4:5] * rows[..., 5:]

    return decoded


def _require_all_same(ours: tuple, calls: Mapping[str, Call]) -> None:
    for name, call in calls.items():
        for what, mine, theirs in zip(DECODED, ours, call(), strict=True):
            require_same(f"{what} of {name}", np.asarray(mine), np.asarray(theirs))
