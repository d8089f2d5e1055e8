"""How fast a model trains and predicts on this machine, and what memory it needs.

    rows = measure(Trial("yolor_nano", image_size=128, batch_size=32, classes=6), rounds=10)
    rows[2]["images_per_second"]  # of prediction with the folded network

Six programs are compiled and timed in turn, round after round, so that a busy machine slows all of
them alike: the training step; prediction with the trained network, and with the folded one; of the
latter the network alone; and with NMS among 30,000 candidates. Weights and images are random, and
images are not augmented (`bench.data` times that apart); decoding and NMS are part of prediction.

Boxes of random weights lie everywhere, so that NMS soon has all it may keep. The last program is
NMS alone of the other kind: boxes that crowd around few objects, all of which must be gone over.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.example import Batch
from yolor_jax.detection.decode import Decoded
from yolor_jax.detection.losses import LossConfig
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.inference.prediction import EVALUATION, NmsConfig, make_predict
from yolor_jax.models.detector import Detector, build, normalise
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import ModelSpec
from yolor_jax.training import mesh as meshes
from yolor_jax.training.optim import OptimConfig, RunLength
from yolor_jax.training.programs.cost import Memory
from yolor_jax.training.state import TrainState, init_state
from yolor_jax.training.step import TrainStep, make_detection_loss, make_train_step

CROWDED = NmsConfig(0.0, EVALUATION.iou_threshold, max_candidates=30_000)
"""NMS of a COCO evaluation. Random weights are unsure: only a threshold of 0 fills it."""
FEW_STAY = dataclasses.replace(EVALUATION, max_candidates=CROWDED.max_candidates)
OBJECTS = 20
"""In each image of `around_objects`."""


class Trial(NamedTuple):
    """What is measured.

    Attributes:
        model: a name of the zoo.
        image_size: pixels.
        batch_size: images.
        classes: K.
        bfloat16: whether activations are bfloat16 rather than float32.
    """

    model: str
    image_size: int = 640
    batch_size: int = 8
    classes: int = 80
    bfloat16: bool = False


class Program(NamedTuple):
    """A compiled program that can be called again and again without arguments."""

    name: str
    call: Callable[[], Any]
    compile_seconds: float
    memory_bytes: int


def measure(trial: Trial, rounds: int) -> list[dict[str, Any]]:
    """The figures of each program: medians over the rounds, after one that warms up.

    Raises:
        InputError: there is no such model, or it takes no such images.
    """
    programs = _programs(trial)
    seconds = {program.name: [] for program in programs}
    for number in range(rounds + 1):
        for program in programs:
            started = time.perf_counter()
            jax.block_until_ready(program.call())
            if number:
                seconds[program.name].append(time.perf_counter() - started)
    return [_row(program, seconds, trial.batch_size) for program in programs]


def _programs(trial: Trial) -> list[Program]:
    """Compiles the programs."""
    module, fused = networks(trial)
    mesh = meshes.make_mesh()
    step, state = first_step(trial, module, mesh)
    batch = meshes.shard_batch(mesh, random_batch(trial))
    images = batch.image, batch.letterbox, batch.original_size
    crowd = jax.device_put(around_objects(trial, module.spec), meshes.batch_sharding(mesh))
    trained = jax.device_get(state.ema_variables)
    folded = fold(module.spec, trained)
    trained, folded = jax.device_put((trained, folded), meshes.replicated(mesh))

    def network(variables: Mapping, image: jax.Array, *_: jax.Array) -> tuple[jax.Array, ...]:
        return fused.apply(variables, normalise(image, fused.dtype), train=False).detect

    def suppress(_: Mapping, *decoded: jax.Array) -> Detections:
        return non_max_suppression(Decoded(*decoded), **dataclasses.asdict(FEW_STAY))

    def program(
        name: str, function: Callable[..., Any], variables: Mapping, inputs: tuple = images
    ) -> Program:
        sharded = jax.jit(meshes.map_shards(mesh, function))
        compiled, *figures = compile_program(sharded, variables, *inputs)
        return Program(name, lambda: compiled(variables, *inputs), *figures)

    return [
        training(step, state, batch),
        program("predict", make_predict(module, NmsConfig()), trained),
        program("predict, folded", make_predict(fused, NmsConfig()), folded),
        program("network, folded", network, folded),
        program("predict, folded, crowded", make_predict(fused, CROWDED), folded),
        program(f"NMS, {OBJECTS} objects", suppress, {}, tuple(crowd)),
    ]


def networks(trial: Trial) -> tuple[Detector, Detector]:
    """The network as it is trained, and the one for folded parameters."""
    dtype = jnp.bfloat16 if trial.bfloat16 else jnp.float32
    module = build(trial.model, trial.classes, dtype=dtype)
    return module, build(trial.model, trial.classes, dtype=dtype, fused=True)


def first_step(
    trial: Trial, module: Detector, mesh: Mesh, augmentation: AugmentConfig | None = None
) -> tuple[TrainStep, TrainState]:
    """The training step, with augmentation if so asked, and the state that training begins with."""

    def augmented(key: jax.Array, batch: Batch, step: jax.Array) -> Batch:
        return augment(key, batch, augmentation) if augmentation else batch

    spec = module.spec
    optim = OptimConfig(nominal_batch=trial.batch_size)
    length = RunLength(trial.batch_size, 100, 100)
    state = init_state(
        module,
        optim,
        length,
        key=jax.random.key(0, impl="rbg"),
        image_size=(trial.image_size, trial.image_size),
        mesh=mesh,
    )
    step = make_train_step(
        module,
        augment=augmented,
        loss=make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=LossConfig()),
        config=optim,
        run=length,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, state),
    )
    return step, state


def training(step: TrainStep, state: TrainState, batch: Batch) -> Program:
    """The training step; each call continues from the state of the one before."""
    key = jax.random.key(0)
    compiled, *figures = compile_program(step, state, batch, key)

    def call():
        nonlocal state
        state, metrics = compiled(state, batch, key)
        return metrics

    return Program("train step", call, *figures)


def compile_program(function, *arguments) -> tuple[Any, float, int]:
    """The compiled function, the seconds that took, and the bytes that it needs at once."""
    lowered = function.lower(*arguments)
    started = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    return compiled, seconds, Memory.of(compiled).total


def random_batch(trial: Trial) -> Batch:
    """Images of noise with eight boxes each."""
    generator = np.random.default_rng(0)
    count, side, targets = trial.batch_size, trial.image_size, 8
    corners = generator.uniform(0, side / 2, (count, targets, 2))
    sides = generator.uniform(side / 16, side / 2, (count, targets, 2))
    return Batch(
        image=generator.integers(0, 256, (count, side, side, 3), np.uint8),
        boxes_xyxy=np.concatenate([corners, corners + sides], axis=-1).astype(np.float32),
        labels=generator.integers(0, trial.classes, (count, targets), np.int32),
        mask=np.ones((count, targets), bool),
        is_crowd=np.zeros((count, targets), bool),
        index=np.arange(count, dtype=np.int32),
        original_size=np.full((count, 2), side, np.int32),
        letterbox=np.tile(np.float32([1, 0, 0]), (count, 1)),
        valid=np.ones(count, bool),
        identity=np.full((count, targets), -1, np.int32),
    )


def around_objects(trial: Trial, spec: ModelSpec) -> Decoded:
    """Predictions that crowd around `OBJECTS` objects of each image, as a trained network's do."""
    generator = np.random.default_rng(0)
    levels = zip(spec.anchors, spec.strides, strict=True)
    number = sum(len(anchors) * (trial.image_size // stride) ** 2 for anchors, stride in levels)
    of_object = trial.batch_size, OBJECTS
    centres = generator.uniform(0, trial.image_size, (*of_object, 2))
    sides = generator.uniform(trial.image_size / 20, trial.image_size / 5, (*of_object, 2))
    labels = generator.integers(0, trial.classes, of_object)

    rows = np.arange(trial.batch_size)[:, None]
    which = generator.integers(0, OBJECTS, (trial.batch_size, number))  # [B, N]
    around = generator.normal(0, 0.05, (2, *which.shape, 2))
    shown = sides[rows, which]
    boxes_cxcywh = np.concatenate(
        [centres[rows, which] + shown * around[0], shown * np.exp(around[1])], axis=-1
    )
    probabilities = np.zeros((*which.shape, trial.classes), np.float32)
    of_label = rows, np.arange(number)[None], labels[rows, which]
    probabilities[of_label] = generator.uniform(0.5, 1, which.shape)
    objectness = generator.uniform(0, 1, which.shape) ** 3  # most are unsure
    return Decoded(np.float32(boxes_cxcywh), np.float32(objectness), probabilities)


def _row(program: Program, seconds: Mapping[str, list[float]], batch_size: int) -> dict[str, Any]:
    """The figures of one program; its ratio to plain prediction is the median over the rounds."""
    own, reference = seconds[program.name], seconds["predict"]
    median = statistics.median(own)
    return {
        "program": program.name,
        "compile_seconds": round(program.compile_seconds, 2),
        "batches_per_second": round(1 / median, 3),
        "images_per_second": round(batch_size / median, 2),
        "time_to_predict": round(
            statistics.median(a / b for a, b in zip(own, reference, strict=True)), 3
        ),
        "memory_mib": round(program.memory_bytes / 2**20, 1),
    }
