"""How fast a model trains and predicts beside the same network in PyTorch, on the same cores.

    take_cores(1)                                          # before JAX starts its devices
    figures = measure(Trial("yolor_nano", image_size=128, batch_size=8, classes=6), rounds=10)
    figures["ratios"]["train"], figures["ratios"]["predict"]   # our time by PyTorch's

A training step is the network, the loss, its gradient, SGD with Nesterov momentum and the moving
average, on one batch without augmentation. Prediction is the network with folded parameters and
the decoding of all its predictions, without NMS. PyTorch runs both with its default layout and with
``channels_last``; the faster one counts. All take turns, round after round, so that a busy machine
slows all of them alike. Before that both must give the same loss and the same predictions.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax.data.example import Batch
from yolor_jax.detection.decode import decode
from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector, normalise
from yolor_jax.models.fold import fold
from yolor_jax.runs.model_speed import Trial, first_step, networks, random_batch, training
from yolor_jax.training import mesh as meshes

AGREEMENT = 1e-4  # largest difference of losses and predictions, relative to 1 + |value|

Call = Callable[[], Any]


def take_cores(count: int) -> None:
    """Keeps this process on so many of its cores; JAX then starts as many threads.

    Raises:
        InputError: it may not use so many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(cores):
        raise InputError(f"got {count} threads; expected 1 to {len(cores)}, the cores to be used")
    os.sched_setaffinity(0, cores[:count])


def measure(trial: Trial, rounds: int) -> dict[str, Any]:
    """The figures: ``ratios`` of medians' rounds, and ``seconds`` of each program by its name.

    Raises:
        InputError: there is no such model, or the network in PyTorch cannot be it.
        ImportError: PyTorch is not installed.
        ArithmeticError: the two do not compute the same.
    """
    _require_torch()
    module, fused = networks(trial)
    batch = random_batch(trial)
    mesh = meshes.make_mesh()
    step, state = first_step(trial, module, mesh)
    variables = jax.tree.map(np.array, jax.device_get(state.ema_variables))
    folded = fold(module.spec, variables)
    theirs_train, theirs_predict = _theirs(trial, module, variables, folded, batch)
    ours_train = training(step, state, meshes.shard_batch(mesh, batch)).call
    ours_predict = _prediction(fused, folded, batch.image)

    ours_loss = float(ours_train()["loss/total"][0]) * trial.batch_size
    for name, call in theirs_train.items():
        _require_same(f"the loss of a step, {name}", ours_loss, float(call()))
    ours = np.concatenate([part.reshape(*part.shape[:2], -1) for part in ours_predict()], axis=-1)
    for name, call in theirs_predict.items():
        _require_same(f"predictions, {name}", ours, call().numpy())
    seconds = {
        "train": _in_turn(theirs_train | {"ours": ours_train}, rounds),
        "predict": _in_turn(theirs_predict | {"ours": ours_predict}, rounds),
    }
    return {
        "ratios": {what: ratio_to_best(times) for what, times in seconds.items()},
        "seconds": {
            what: {name: statistics.median(own) for name, own in times.items()}
            for what, times in seconds.items()
        },
    }


def ratio_to_best(seconds: Mapping[str, list[float]]) -> float:
    """The median over the rounds of our time by that of the mode whose median is least."""
    modes = {name: times for name, times in seconds.items() if name != "ours"}
    best = min(modes.values(), key=statistics.median)
    return statistics.median(a / b for a, b in zip(seconds["ours"], best, strict=True))


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError("this needs PyTorch: pip install 'yolor-jax[torch]'") from error


def _theirs(
    trial: Trial, module: Detector, variables: Mapping, folded: Mapping, batch: Batch
) -> tuple[dict[str, Call], dict[str, Call]]:
    """The step and prediction of PyTorch, by the name of the layout."""
    import torch

    from yolor_jax.beside.network import Network, load
    from yolor_jax.beside.step import TrainStep, predict

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    images = torch.tensor(batch.image).permute(0, 3, 1, 2)
    images_of, count = np.nonzero(batch.mask)
    targets = np.column_stack(
        [images_of, batch.labels[images_of, count], batch.boxes_xyxy[images_of, count]]
    )
    targets = torch.tensor(targets, dtype=torch.float32)
    layouts = {
        "PyTorch": torch.contiguous_format,
        "PyTorch, channels_last": torch.channels_last,
    }

    def calls(layout: torch.memory_format) -> tuple[Call, Call]:
        laid = images.contiguous(memory_format=layout)
        network = Network(module.spec, trial.classes)
        load(network, variables)
        step = TrainStep(network.to(memory_format=layout), module.spec)
        fused = Network(module.spec, trial.classes, fused=True)
        load(fused, folded)
        fused = fused.eval().to(memory_format=layout)
        return lambda: step(laid, targets), lambda: predict(fused, laid, module.spec)

    made = {name: calls(layout) for name, layout in layouts.items()}
    return {n: train for n, (train, _) in made.items()}, {n: p for n, (_, p) in made.items()}


def _prediction(fused: Detector, folded: Mapping, images: np.ndarray) -> Call:
    """Our network with folded parameters, and all of its predictions decoded."""
    spec = fused.spec

    @jax.jit
    def run(variables, images):
        logits = fused.apply(variables, normalise(images, fused.dtype), train=False).detect
        found = decode(logits, anchors=spec.anchors, strides=spec.strides)
        return found.boxes_cxcywh, found.objectness[..., None], found.probabilities

    arguments = jax.device_put((folded, jnp.asarray(images)))
    return lambda: run(*arguments)


def _require_same(what: str, ours: Any, theirs: Any) -> None:
    difference = np.max(np.abs(ours - theirs) / (1 + np.abs(theirs)))
    if not difference <= AGREEMENT:
        raise ArithmeticError(
            f"{what}: ours and PyTorch's differ by {difference:.1e}, expected at most {AGREEMENT}; "
            "a ratio of their times would compare different work"
        )


def _in_turn(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            jax.block_until_ready(call())
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds
