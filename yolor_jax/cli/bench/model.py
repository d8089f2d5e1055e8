"""Measure a model on this machine: compile time, speed and memory.

Three programs are compiled and timed in turn, round after round, so that a busy machine slows all
of them alike: the training step, prediction with the trained network, and with the folded one.
Weights and images are random, and images are not augmented (``yolor bench data`` times that apart);
decoding and NMS are part of prediction.

    yolor bench model yolor_nano --image-size 128 --batch-size 32 --classes 6
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.errors import InputError
from yolor_jax.table import text_table


class Program(NamedTuple):
    """A compiled program that can be called again and again without arguments."""

    name: str
    call: Callable[[], Any]
    compile_seconds: float
    memory_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor bench model``."""
    parser.add_argument("model", metavar="MODEL", help="a name of the zoo, such as yolor_csp")
    parser.add_argument("--image-size", type=int, default=640, help="pixels (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images (%(default)s)")
    parser.add_argument("--classes", type=int, default=80, help="classes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="timed rounds (%(default)s)")
    parser.add_argument("--bfloat16", action="store_true", help="activations in bfloat16")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor bench model`` and returns 0."""
    import jax

    save = figures_writer(args.json)
    if args.rounds < 1:
        raise InputError(f"--rounds is {args.rounds}; expected at least 1")
    programs = _programs(args)
    seconds = {program.name: [] for program in programs}
    for round_ in range(args.rounds + 1):
        for program in programs:
            started = time.perf_counter()
            jax.block_until_ready(program.call())
            if round_:  # the first one warms up
                seconds[program.name].append(time.perf_counter() - started)
    rows = [_row(program, seconds, args.batch_size) for program in programs]
    print(_table(args, jax.devices()[0].device_kind, rows))
    save({"settings": _settings(args), "programs": rows})
    return 0


def _programs(args: argparse.Namespace) -> list[Program]:
    """Compiles the three programs."""
    import jax
    import jax.numpy as jnp

    from yolor_jax.detection.losses import LossConfig
    from yolor_jax.inference.predictor import NmsConfig, make_predict
    from yolor_jax.models.detector import build
    from yolor_jax.models.fold import fold
    from yolor_jax.training import mesh as meshes
    from yolor_jax.training.optim import OptimConfig, RunLength
    from yolor_jax.training.state import init_state
    from yolor_jax.training.step import make_detection_loss, make_train_step

    dtype = jnp.bfloat16 if args.bfloat16 else jnp.float32
    module = build(args.model, args.classes, dtype=dtype)
    fused = build(args.model, args.classes, dtype=dtype, fused=True)
    spec = module.spec
    mesh = meshes.make_mesh()
    optim = OptimConfig(nominal_batch=args.batch_size)
    length = RunLength(args.batch_size, 100, 100)
    state = init_state(
        module,
        optim,
        length,
        key=jax.random.key(0, impl="rbg"),
        image_size=(args.image_size, args.image_size),
        mesh=mesh,
    )
    step = make_train_step(
        module,
        augment=lambda key, batch, step: batch,
        loss=make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=LossConfig()),
        config=optim,
        run=length,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, state),
    )
    host_batch = _random_batch(args)
    batch = meshes.shard_batch(mesh, host_batch)
    trained = jax.device_get(state.ema_variables)
    images = batch.image, batch.letterbox, batch.original_size

    def predict(name: str, module: Any, variables: Mapping) -> Program:
        variables = jax.device_put(variables, meshes.replicated(mesh))
        compiled, *figures = _compile(
            jax.jit(meshes.map_shards(mesh, make_predict(module, NmsConfig()))), variables, *images
        )
        return Program(name, lambda: compiled(variables, *images), *figures)

    return [
        _training(step, state, batch),
        predict("predict", module, trained),
        predict("predict, folded", fused, fold(spec, trained)),
    ]


def _training(step, state, batch) -> Program:
    """The training step; each call continues from the state of the one before."""
    import jax

    key = jax.random.key(0)
    compiled, *figures = _compile(step, state, batch, key)

    def call():
        nonlocal state
        state, metrics = compiled(state, batch, key)
        return metrics

    return Program("train step", call, *figures)


def _compile(function, *args) -> tuple[Any, float, int]:
    """The compiled function, the seconds that took, and the bytes that it needs at once."""
    lowered = function.lower(*args)
    started = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - started
    memory = compiled.memory_analysis()
    needed = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return compiled, seconds, needed


def _random_batch(args: argparse.Namespace):
    """Images of noise with eight boxes each."""
    import numpy as np

    from yolor_jax.data.example import Batch

    generator = np.random.default_rng(0)
    count, side, targets = args.batch_size, args.image_size, 8
    corners = generator.uniform(0, side / 2, (count, targets, 2))
    sides = generator.uniform(side / 16, side / 2, (count, targets, 2))
    return Batch(
        image=generator.integers(0, 256, (count, side, side, 3), np.uint8),
        boxes_xyxy=np.concatenate([corners, corners + sides], axis=-1).astype(np.float32),
        labels=generator.integers(0, args.classes, (count, targets), np.int32),
        mask=np.ones((count, targets), bool),
        is_crowd=np.zeros((count, targets), bool),
        index=np.arange(count, dtype=np.int32),
        original_size=np.full((count, 2), side, np.int32),
        letterbox=np.tile(np.float32([1, 0, 0]), (count, 1)),
        valid=np.ones(count, bool),
    )


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


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "image_size", "batch_size", "classes", "rounds", "bfloat16")
    return {name: getattr(args, name) for name in names}


def _table(args: argparse.Namespace, device: str, rows: list[dict[str, Any]]) -> str:
    said = (
        f"{args.model}, {args.image_size} pixels, batches of {args.batch_size}, on {device}; "
        f"medians of {args.rounds} rounds; time as a multiple of that of predict"
    )
    cells = [("", "compile s", "batches/s", "images/s", "time", "MiB")]
    for row in rows:
        cells.append(
            (
                row["program"],
                f"{row['compile_seconds']:.1f}",
                f"{row['batches_per_second']:.2f}",
                f"{row['images_per_second']:.1f}",
                f"{row['time_to_predict']:.2f}",
                f"{row['memory_mib']:.0f}",
            )
        )
    return f"{said}\n{text_table(cells)}"
