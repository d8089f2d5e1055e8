"""What `bench.device` measures of an accelerator, each part on its own.

    predict(Trial("yolor_csp", 640, 32, bfloat16=True))["seconds"]["folded, network"]

Weights and images are random; times are medians of some calls, after one that warms up.
"""

import dataclasses
import functools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from yolor_jax.augment.config import AugmentConfig
from yolor_jax.bench.model import (
    CROWDED,
    Trial,
    first_step,
    networks,
    random_batch,
    training,
)
from yolor_jax.bench.training import matrix_flops_per_second
from yolor_jax.detection.decode import decode
from yolor_jax.inference.prediction import NmsConfig, make_predict
from yolor_jax.models.detector import normalise
from yolor_jax.models.fold import fold
from yolor_jax.training import mesh as meshes
from yolor_jax.training.programs.peak import peak_flops
from yolor_jax.training.trace import Steps, traced

REPEATS = 10  # timed calls, of which the median counts
MOSAIC = 4  # images in one


def ceiling(matrix_side: int, copied_mib: int) -> dict[str, float]:
    """FLOPs per second of matrix products, and bytes per second of a copy (read and written)."""
    source = jnp.zeros((copied_mib * 2**18,), jnp.float32)
    copy = jax.jit(lambda x: x + 1)  # as much traffic as a copy, which XLA might leave out
    return {
        "bfloat16_flops_per_second": matrix_flops_per_second(jnp.bfloat16, matrix_side),
        "float32_flops_per_second": matrix_flops_per_second(jnp.float32, matrix_side),
        "copied_bytes_per_second": 2 * source.nbytes / _seconds(lambda: copy(source)),
    }


def predict(trial: Trial) -> dict[str, Any]:
    """Seconds of the network alone, as trained and folded; folded with decoding, and with NMS."""
    module, fused = networks(trial)
    spec, variables = module.spec, _variables(trial)
    batch = random_batch(trial)
    images = jax.device_put((batch.image, batch.letterbox, batch.original_size))
    seconds = {}
    for form, network, given in (
        ("as trained", module, variables),
        ("folded", fused, fold(spec, variables)),
    ):
        given = jax.device_put(given)

        def logits(variables, image, *_, network=network):
            return network.apply(variables, normalise(image, network.dtype), train=False).detect

        def decoded(*arguments, logits=logits):
            return decode(logits(*arguments), anchors=spec.anchors, strides=spec.strides)

        programs = {"network": logits}
        if form == "folded":
            programs |= {
                "and decode": decoded,
                "and NMS at 0.25": make_predict(network, NmsConfig()),
                f"and NMS of {CROWDED.max_candidates}": make_predict(network, CROWDED),
            }
        for name, program in programs.items():
            compiled = jax.jit(program).lower(given, *images).compile()
            seconds[f"{form}, {name}"] = _seconds(partial(compiled, given, *images))
    return {"batch_size": trial.batch_size, "seconds": seconds}


def beside(trial: Trial) -> dict[str, Any]:
    """Seconds of the folded network alone in PyTorch: channels_last, eager and compiled."""
    import torch

    from yolor_jax.beside.network import Network, load

    module, _ = networks(trial)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Network(module.spec, trial.classes, fused=True).eval()
    load(network, fold(module.spec, _variables(trial)))
    dtype = torch.bfloat16 if trial.bfloat16 else torch.float32
    network = network.to(device, dtype, memory_format=torch.channels_last)
    images = torch.tensor(random_batch(trial).image, device=device).permute(0, 3, 1, 2)

    @torch.inference_mode()
    def run(network: Callable) -> None:
        network(images.to(dtype) / 255)
        if device == "cuda":
            torch.cuda.synchronize()

    figures: dict[str, Any] = {"batch_size": trial.batch_size, "device": device}
    figures["seconds"] = {"eager": _seconds(partial(run, network))}
    try:
        compiled = torch.compile(network, mode="max-autotune-no-cudagraphs")
        figures["seconds"]["compiled"] = _seconds(partial(run, compiled))
    except (RuntimeError, ImportError, OSError) as error:  # it needs a compiler
        figures["not_compiled"] = f"{type(error).__name__}: {error}"[:500]
    return figures


def train(trial: Trial) -> dict[str, Any]:
    """Figures of a training step on random images that lie on the device, without augmentation."""
    module, _ = networks(trial)
    mesh = meshes.make_mesh()
    step, state = first_step(trial, module, mesh)
    batch = meshes.shard_batch(mesh, random_batch(trial))
    flops = step.lower(state, batch, jax.random.key(0)).cost_analysis()["flops"]
    program = training(step, state, batch)
    seconds = _seconds(program.call)
    device = mesh.local_devices[0]
    peak = peak_flops(device.device_kind, bfloat16=trial.bfloat16)
    return {
        "batch_size": trial.batch_size,
        "seconds": seconds,
        "images_per_second": trial.batch_size / seconds,
        "flops_per_step": flops,
        "mfu": flops / seconds / (peak * mesh.size) if peak else None,
        "compile_seconds": program.compile_seconds,
        "memory_bytes": program.memory_bytes,
        "peak_bytes_in_use": (device.memory_stats() or {}).get("peak_bytes_in_use"),
    }


def correctness(trial: Trial) -> dict[str, float]:
    """Largest difference of logits, relative to the largest of them, in float32.

    Of this device from the CPU, and of the folded network from the one as trained.
    """
    module, fused = networks(trial._replace(bfloat16=False))
    variables = _variables(trial)
    images = random_batch(trial).image

    def logits(network, variables, device) -> np.ndarray:
        @jax.jit
        def run(variables, images):
            x = normalise(images, jnp.float32)
            return network.apply(variables, x, train=False).detect

        with jax.default_matmul_precision("highest"):
            found = run(*jax.device_put((variables, images), device))
        return np.concatenate([np.ravel(level) for level in jax.device_get(found)])

    here = jax.devices()[0]
    ours = logits(module, variables, here)
    on_cpu = logits(module, variables, jax.devices("cpu")[0])
    folded = logits(fused, fold(module.spec, variables), here)
    scale = float(np.abs(on_cpu).max())
    return {
        "from the CPU": float(np.abs(ours - on_cpu).max()) / scale,
        "by the fold": float(np.abs(folded - ours).max()) / scale,
    }


def augmented(trial: Trial) -> dict[str, Any]:
    """Seconds of a training step without augmentation, and with it by gathers and by products."""
    module, _ = networks(trial)
    mesh = meshes.make_mesh()
    batch = meshes.shard_batch(mesh, random_batch(trial))
    group = math.gcd(trial.batch_size // mesh.size, 8)
    plain = AugmentConfig(group=group, mosaic=float(group >= MOSAIC))
    seconds = {}
    for name, config in (
        ("off", None),
        ("gathers", dataclasses.replace(plain, sampling="gathers")),
        ("products", dataclasses.replace(plain, sampling="products")),
    ):
        step, state = first_step(trial, module, mesh, config)
        seconds[name] = _seconds(training(step, state, batch).call)
    return {"batch_size": trial.batch_size, "mosaic": bool(plain.mosaic), "seconds": seconds}


def beside_cpu(trial: Trial) -> dict[str, float]:
    """Relative differences of the first training step's loss, by term, from the CPU's, in float32.

    The learning rate of the first step of a warm-up is 0: the terms are what it computes.
    """
    trial = trial._replace(batch_size=2, bfloat16=False)
    module, _ = networks(trial)

    def terms(device: jax.Device) -> dict[str, float]:
        mesh = meshes.make_mesh([device])
        step, state = first_step(trial, module, mesh)
        batch = meshes.shard_batch(mesh, random_batch(trial))
        with jax.default_matmul_precision("highest"):
            metrics = jax.device_get(step(state, batch, jax.random.key(0))[1])
        return {name: float(value) for name, (value, _) in metrics.items()}

    here, there = terms(jax.devices()[0]), terms(jax.devices("cpu")[0])
    return {name: abs(here[name] - value) / max(abs(value), 1e-12) for name, value in there.items()}


def profile(trial: Trial) -> dict[str, Any]:
    """What the trace of ten training steps says: its most expensive operations."""
    module, _ = networks(trial)
    mesh = meshes.make_mesh()
    step, state = first_step(trial, module, mesh)
    batch, key = meshes.shard_batch(mesh, random_batch(trial)), jax.random.key(0)
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(2, 12)
        with traced(
            partial(_advance, step, key), 0, steps, epath.Path(folder), said.append
        ) as advance:
            for _ in range(steps.last):
                state, _ = advance(state, batch)
    return {"batch_size": trial.batch_size, "operations": said}


def _advance(step, key, state, batch):
    return step(state, batch, key)


@functools.cache
def _variables_of(model: str, classes: int) -> dict:
    module, _ = networks(Trial(model, classes=classes))
    image = jnp.zeros((1, module.spec.strides[-1], module.spec.strides[-1], 3))
    return jax.device_get(jax.jit(module.init)(jax.random.key(0), image))


def _variables(trial: Trial) -> dict:
    """Variables at the start of a training, on the host; drawn once, as that is compiled."""
    return _variables_of(trial.model, trial.classes)


def _seconds(call: Callable[[], Any]) -> float:
    """The median of some calls, after one that warms up."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
