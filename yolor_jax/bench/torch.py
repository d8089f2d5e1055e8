"""How fast a model trains and predicts beside the same network in PyTorch, on the same cores.

    take_cores(1)                                          # `bench.in_turn`
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
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax.bench.in_turn import Call, in_turn, medians, ratio, require_same
from yolor_jax.bench.model import Trial, first_step, networks, random_batch, training
from yolor_jax.data.example import Batch
from yolor_jax.detection.decode import decode
from yolor_jax.models.detector import Detector, normalise
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import ModelSpec
from yolor_jax.training import mesh as meshes


def measure(trial: Trial, rounds: int) -> dict[str, Any]:
    """The figures: ``ratios`` of medians' rounds, and ``seconds`` of each program by its name.

    Raises:
        InputError: there is no such model, or the network in PyTorch cannot be it.
        ImportError: PyTorch is not installed.
        ArithmeticError: the two do not compute the same.
    """
    require_torch()
    module, fused = networks(trial)
    batch = random_batch(trial)
    mesh = meshes.make_mesh()
    step, state = first_step(trial, module, mesh)
    variables = jax.tree.map(np.array, jax.device_get(state.ema_variables))
    folded = fold(module.spec, variables)
    theirs_predict = torch_predictions(module.spec, trial.classes, folded, batch.image)
    theirs_train = _torch_steps(trial, module.spec, variables, batch)
    ours_train = training(step, state, meshes.shard_batch(mesh, batch)).call
    ours_predict = _prediction(fused, folded, batch.image)

    ours_loss = float(ours_train()["loss/total"][0]) * trial.batch_size
    for name, call in theirs_train.items():
        require_same(f"the loss of a step, {name},", ours_loss, float(call()))
    ours = np.concatenate([part.reshape(*part.shape[:2], -1) for part in ours_predict()], axis=-1)
    for name, call in theirs_predict.items():
        require_same(f"predictions, {name},", ours, call().numpy())
    seconds = {
        "train": in_turn(theirs_train | {"ours": ours_train}, rounds),
        "predict": in_turn(theirs_predict | {"ours": ours_predict}, rounds),
    }
    return {
        "ratios": {what: ratio_to_best(times) for what, times in seconds.items()},
        "seconds": {what: medians(times) for what, times in seconds.items()},
    }


def ratio_to_best(seconds: Mapping[str, list[float]]) -> float:
    """The median over the rounds of our time by that of the mode whose median is least."""
    modes = {name: times for name, times in seconds.items() if name != "ours"}
    best = min(modes.values(), key=statistics.median)
    return ratio(seconds["ours"], best)


def require_torch() -> None:
    """Raises an ImportError that names the extra where PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError("this needs PyTorch: pip install 'yolor-jax[torch]'") from error


def torch_predictions(
    spec: ModelSpec, classes: int, folded: Mapping, images: np.ndarray
) -> dict[str, Call]:
    """The network with folded parameters in PyTorch, by the name of the layout.

    Args:
        spec: the model.
        classes: K.
        folded: its variables, folded.
        images: uint8 [B, H, W, 3].

    Returns:
        Calls that give all predictions decoded, a tensor [B, N, 5 + K].
    """
    import torch

    from yolor_jax.beside.network import Network, load
    from yolor_jax.beside.step import predict

    torch.set_num_threads(len(os.sched_getaffinity(0)))

    def call(layout: torch.memory_format) -> Call:
        laid = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        network = Network(spec, classes, fused=True)
        load(network, folded)
        network = network.eval().to(memory_format=layout)
        return lambda: predict(network, laid, spec)

    return {name: call(layout) for name, layout in _layouts().items()}


def _torch_steps(
    trial: Trial, spec: ModelSpec, variables: Mapping, batch: Batch
) -> dict[str, Call]:
    """The training step in PyTorch, by the name of the layout."""
    import torch

    from yolor_jax.beside.network import Network, load
    from yolor_jax.beside.step import TrainStep

    images_of, count = np.nonzero(batch.mask)
    targets = np.column_stack(
        [images_of, batch.labels[images_of, count], batch.boxes_xyxy[images_of, count]]
    )
    targets = torch.tensor(targets, dtype=torch.float32)

    def call(layout: torch.memory_format) -> Call:
        laid = torch.tensor(batch.image).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        network = Network(spec, trial.classes)
        load(network, variables)
        step = TrainStep(network.to(memory_format=layout), spec)
        return lambda: step(laid, targets)

    return {name: call(layout) for name, layout in _layouts().items()}


def _layouts() -> dict[str, Any]:
    import torch

    return {
        "PyTorch": torch.contiguous_format,
        "PyTorch, channels_last": torch.channels_last,
    }


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
