"""The programs of a recipe compiled on this machine for a TPU slice, and what they need there.

report = compile_recipe(config, "v5e:4x4", num_classes=80)
print(format_report(report))
"""

import contextlib
import dataclasses
import math
import sys
import time
from typing import Any

import jax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from yolor_jax.models.detector import variable_shapes
from yolor_jax.runs import programs, recipe
from yolor_jax.training import mesh as meshes
from yolor_jax.training.optim import RunLength
from yolor_jax.training.programs.cost import Collectives, Memory, count_collectives, readable
from yolor_jax.training.programs.topology import DoesNotFit, compile_for_tpu, hbm_bytes, tpu_devices

SMALLER = 3 / 4
"""The largest part of a batch that did not fit which is tried next."""

AIM = 0.9
"""Share of a chip's memory that a smaller batch aims at."""

TRAINING, PREDICTION = "training step", "prediction"


@dataclasses.dataclass(frozen=True)
class Program:
    """A program compiled for a TPU slice.

    Attributes:
        name: of the program.
        batch_size: images, over all chips.
        memory: on each chip; None if it does not fit.
        needed: bytes on each chip.
        available: bytes that the compiler gives to programs on a chip.
        collectives: by kind.
        compile_seconds: on this machine.
    """

    name: str
    batch_size: int
    memory: Memory | None
    needed: int
    available: int
    collectives: dict[str, Collectives]
    compile_seconds: float


@dataclasses.dataclass(frozen=True)
class Report:
    """A recipe on a TPU slice.

    Attributes:
        title: what was compiled for what.
        programs: training step and prediction.
        fitting: the training step with the batch that would fit, where the recipe's does not.
        flops: of one training step, over all chips.
    """

    title: str
    programs: tuple[Program, ...]
    fitting: Program | None
    flops: float

    @property
    def fits(self) -> bool:
        """Whether all programs of the recipe fit."""
        return all(one.memory for one in self.programs)


def compile_recipe(config: ConfigDict, topology: str, num_classes: int) -> Report:
    """Compiles the training step, at its largest size, and prediction.

    Args:
        config: the recipe.
        topology: name of the slice.
        num_classes: K.

    Raises:
        InputError: no such slice, or a recipe that does not fit its number of chips.
        ImportError: libtpu is not installed.
    """
    devices = tpu_devices(topology)
    hbm = hbm_bytes(devices[0])
    mesh = meshes.make_mesh(devices, fsdp=config.mesh.fsdp)
    programs.require_batch(config, mesh)
    module = recipe.detector(config, num_classes)
    training = _training(config, module, mesh, hbm)
    fitting = None if training.memory else _fitting(config, module, mesh, hbm, training)
    title = (
        f"{config.model.name}, {num_classes} classes, {programs.largest_side(config)} pixels, "
        f"batches of {config.batch_size}, on {topology}: {len(devices)} x "
        f"{devices[0].device_kind} of {hbm / 2**30:.0f} GiB"
    )
    prediction = _prediction(config, module, mesh, hbm)
    return Report(title, (training, prediction), fitting, programs.step_flops(config, module))


def _training(config, module, mesh, hbm, batch_size: int | None = None) -> Program:
    batch_size = batch_size or config.batch_size
    lowered = programs.lower_step(config, module, mesh, batch_size)
    return _compile(TRAINING, lowered, batch_size, hbm)


def _prediction(config, module, mesh, hbm) -> Program:
    arguments = programs.prediction_arguments(config, variable_shapes(module), mesh)
    predict = programs.make_prediction(config, module, mesh)
    batch_size = programs.evaluation_batch_size(config, mesh)
    return _compile(PREDICTION, predict.lower(*arguments), batch_size, hbm)


def _compile(name: str, lowered: jax.stages.Lowered, batch_size: int, hbm: int) -> Program:
    print(f"compiling the {name}, batch {batch_size} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        compiled = compile_for_tpu(lowered)
    except DoesNotFit as error:
        seconds = time.perf_counter() - started
        return Program(name, batch_size, None, error.needed, error.available, {}, seconds)
    seconds = time.perf_counter() - started
    memory = Memory.of(compiled)
    collectives = count_collectives(compiled.as_text())
    return Program(name, batch_size, memory, memory.total, hbm, collectives, seconds)


def _fitting(config, module, mesh, hbm, program_: Program) -> Program | None:
    """The training step with a smaller batch that fits, tried by compiling it.

    The state stays and the rest grows with the batch, so that each attempt says where to look next.
    What it needed is told too low, though: the compiler had spared memory where it could before it
    gave up. As compiling takes long, no attempt is larger than `SMALLER` of the one before.
    """
    state = _bytes_on_chip(_state(config, module, mesh))
    while program_.memory is None:
        room = (AIM * program_.available - state) / (program_.needed - state)
        most = int(program_.batch_size * min(room, SMALLER))
        batch_size = _largest_batch(config, mesh, most)
        if batch_size is None:
            return None
        program_ = _training(config, module, mesh, hbm, batch_size)
    return program_


def _largest_batch(config, mesh, most: int) -> int | None:
    """The largest batch up to a number that devices and mosaics can share evenly."""
    for batch_size in range(most // mesh.size * mesh.size, 0, -mesh.size):
        with contextlib.suppress(ValueError):
            recipe.augment_config(config).require_groups(batch_size // mesh.size)
            return batch_size
    return None


def _state(config, module, mesh):
    run = RunLength(config.batch_size, programs.STEPS, programs.STEPS)
    return programs.step_arguments(config, module, run=run, mesh=mesh)[0]


def _bytes_on_chip(tree: PyTree) -> int:
    """Of arrays that are cut over chips, the part of one."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def format_report(report: Report) -> str:
    """Tables for the terminal: GiB on each chip, collectives by kind, operations; or what fits."""
    names = ("arguments", "outputs", "donated", "temporaries", "in all", "of the chip", "compile s")
    programs = [*report.programs, *filter(None, [report.fitting])]
    lines = [report.title, "", "GiB on each chip" + " " * 12 + "".join(f"{n:>13}" for n in names)]
    lines += [_memory_line(one) for one in programs]
    lines.append("")
    for one in programs:
        for kind, found in one.collectives.items():
            lines.append(
                f"{one.name}, batch {one.batch_size}: {found.count} {kind}, "
                f"{readable(found.bytes)} on each chip"
            )
    lines.append(
        f"one training step of the recipe, over all chips: {report.flops / 1e9:,.1f} GFLOP"
    )
    lines += [_verdict(one, report.fitting) for one in report.programs if not one.memory]
    return "\n".join(lines)


def _memory_line(one: Program) -> str:
    name = f"{one.name}, batch {one.batch_size}"
    if one.memory is None:
        return f"{name:28}{'does not fit':>65}{'':13}{one.compile_seconds:13.0f}"
    m = one.memory
    parts = (m.arguments, m.outputs, m.aliased, m.temporaries, m.total)
    columns = "".join(f"{part / 2**30:13.3f}" for part in parts)
    return f"{name:28}{columns}{m.total / one.available:13.1%}{one.compile_seconds:13.0f}"


def _verdict(one: Program, fitting: Program | None) -> str:
    """What to do about a program that does not fit."""
    sentence = (
        f"The {one.name} does not fit: it needs {one.needed:,} bytes of {one.available:,} on a "
        f"chip, {one.needed - one.available:,} too many."
    )
    if one.name == PREDICTION:
        return f"{sentence} Lower --config.eval.batch_size."
    if fitting is None:
        return (
            f"{sentence} Nor does any smaller batch that the chips and the groups of mosaics "
            "(--config.augment.group) can share: try --config.remat=."
        )
    return (
        f"{sentence} A batch of {fitting.batch_size} fits, with {readable(fitting.needed)} (none "
        "between was tried); --config.remat=. may make room for more."
    )


def as_dict(report: Report) -> dict[str, Any]:
    """The report for JSON."""
    return dataclasses.asdict(report) | {"fits": report.fits}
