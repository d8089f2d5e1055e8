"""The programs of a recipe compiled on this machine for a TPU slice, and what they need there.

```python
report = compile_recipe(recipe, "v5e:4x4", num_classes=80, say=print)
print(format_report(report))
```
"""

import dataclasses
import math
import time
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.progress import Say
from yolor_jax.runs import programs
from yolor_jax.runs.largest_batch import TIGHT, shared_evenly
from yolor_jax.runs.recipe import Recipe
from yolor_jax.table import text_table
from yolor_jax.training import mesh as meshes
from yolor_jax.training.optim import RunLength
from yolor_jax.training.programs.cost import Collectives, Memory, count_collectives, readable
from yolor_jax.training.programs.topology import DoesNotFit, compile_for_tpu, hbm_bytes, tpu_devices
from yolor_jax.training.programs.traffic import Traffic, count_traffic, least_traffic

SMALLER = 3 / 4
"""The largest part of a batch that did not fit which is tried next."""

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
        traffic: to and from the memory of each chip, by kind.
        least_traffic: bytes of it that the convolutions cannot do without.
        compile_seconds: on this machine.
    """

    name: str
    batch_size: int
    memory: Memory | None
    needed: int
    available: int
    collectives: dict[str, Collectives]
    traffic: dict[str, Traffic]
    least_traffic: int
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


def compile_recipe(recipe: Recipe, topology: str, num_classes: int, say: Say) -> Report:
    """Compiles the training step, at its largest size, and prediction.

    Args:
        recipe: of the run.
        topology: name of the slice.
        num_classes: K.
        say: takes what is being compiled, which may take minutes.

    Raises:
        InputError: no such slice, or a recipe that does not fit its number of chips.
        ImportError: libtpu is not installed.
    """
    devices = tpu_devices(topology)
    hbm = hbm_bytes(devices[0])
    mesh = meshes.make_mesh(devices, fsdp=recipe.mesh.fsdp)
    programs.require_batch(recipe, mesh)
    module = recipe.network(num_classes)
    compiler = _Compiler(recipe, module, mesh, hbm, say)
    training = compiler.training(recipe.batch_size)
    fitting = None if training.memory else compiler.fitting(training)
    prediction = compiler.prediction()
    title = (
        f"{recipe.model.name}, {num_classes} classes, {recipe.largest_side} pixels, "
        f"batches of {recipe.batch_size}, on {topology}: {len(devices)} x "
        f"{devices[0].device_kind} of {hbm / 2**30:.0f} GiB"
    )
    return Report(title, (training, prediction), fitting, programs.step_flops(recipe, module))


@dataclasses.dataclass(frozen=True)
class _Compiler:
    """Compiles the programs of a recipe for a mesh of chips with ``hbm`` bytes each."""

    recipe: Recipe
    module: Detector
    mesh: Mesh
    hbm: int
    say: Say

    def training(self, batch_size: int) -> Program:
        """The training step with a batch in the place of the recipe's."""
        lowered = programs.lower_step(self.recipe, self.module, self.mesh, batch_size)
        return self._compiled(TRAINING, lowered, batch_size)

    def prediction(self) -> Program:
        """Prediction with the batch of evaluation."""
        shapes = variable_shapes(self.module)
        arguments = programs.prediction_arguments(self.recipe, shapes, self.mesh)
        predict = programs.make_prediction(self.recipe, self.module, self.mesh)
        batch_size = programs.evaluation_batch_size(self.recipe, self.mesh)
        return self._compiled(PREDICTION, predict.lower(*arguments), batch_size)

    def fitting(self, attempt: Program) -> Program | None:
        """The training step with a smaller batch that fits, tried by compiling it.

        The state stays and the rest grows with the batch, so that each attempt says where to look
        next. What it needed is told too low, though: the compiler had spared memory where it could
        before it gave up. As compiling takes long, no attempt is larger than `SMALLER` of the one
        before.
        """
        state = self._state_bytes()
        while attempt.memory is None:
            room = (TIGHT * attempt.available - state) / (attempt.needed - state)
            most = int(attempt.batch_size * min(room, SMALLER))
            sizes = shared_evenly(self.recipe, self.mesh, most)
            if not sizes:
                return None
            attempt = self.training(sizes[-1])
        return attempt

    def _compiled(self, name: str, lowered: jax.stages.Lowered, batch_size: int) -> Program:
        self.say(f"compiling the {name}, batch {batch_size} ...")
        started = time.perf_counter()
        try:
            compiled = compile_for_tpu(lowered)
        except DoesNotFit as error:
            seconds = time.perf_counter() - started
            needed, available = error.needed, error.available
            return Program(name, batch_size, None, needed, available, {}, {}, 0, seconds)
        seconds = time.perf_counter() - started
        memory, text = Memory.of(compiled), compiled.as_text()
        return Program(
            name, batch_size, memory, memory.total, self.hbm,
            count_collectives(text), count_traffic(text), least_traffic(text), seconds,
        )  # fmt: skip

    def _state_bytes(self) -> int:
        """Bytes of the state on one chip."""
        run = RunLength(self.recipe.batch_size, programs.STEPS, programs.STEPS)
        trained = programs.without_data(self.recipe, self.module)
        arguments = programs.step_arguments(self.recipe, trained, run=run, mesh=self.mesh)
        return _bytes_on_chip(arguments[0])


def _bytes_on_chip(tree: PyTree) -> int:
    """Of sharded arrays, the part of one chip."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def format_report(report: Report) -> str:
    """Tables for the terminal: GiB on each chip, collectives by kind, operations; or what fits."""
    names = ("arguments", "outputs", "donated", "temporaries", "in all", "of the chip", "compile s")
    programs = [*report.programs, *filter(None, [report.fitting])]
    rows = [("GiB on each chip", *names), *map(_memory_row, programs)]
    lines = [report.title, "", text_table(rows), ""]
    for one in programs:
        for kind, found in one.collectives.items():
            lines.append(
                f"{one.name}, batch {one.batch_size}: {found.count} {kind}, "
                f"{readable(found.bytes)} on each chip"
            )
    for one in report.programs:
        if one.memory:
            lines += ["", _traffic(one)]
    lines.append("")
    lines.append(
        f"one training step of the recipe, over all chips: {report.flops / 1e9:,.1f} GFLOP"
    )
    lines += [_verdict(one, report.fitting) for one in report.programs if not one.memory]
    return "\n".join(lines)


def _memory_row(one: Program) -> tuple[str, ...]:
    name, seconds = f"{one.name}, batch {one.batch_size}", f"{one.compile_seconds:.0f}"
    if one.memory is None:
        return (name, "", "", "", "", "does not fit", "", seconds)
    m = one.memory
    parts = (m.arguments, m.outputs, m.aliased, m.temporaries, m.total)
    columns = (f"{part / 2**30:.3f}" for part in parts)
    return (name, *columns, f"{m.total / one.available:.1%}", seconds)


def _traffic(one: Program) -> str:
    """What a program moves to and from the memory of a chip."""
    rows = [(f"moved by the {one.name}", "instructions", "on each chip")]
    rows += [(name, f"{k.count:,}", readable(k.bytes)) for name, k in one.traffic.items()]
    rows.append(("in all", "", readable(sum(kind.bytes for kind in one.traffic.values()))))
    rows.append(("arrays of convolutions, each once", "", readable(one.least_traffic)))
    return text_table(rows)


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
