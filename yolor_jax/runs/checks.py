"""What a run needs, looked at before it starts: one verdict and one sentence for each.

```python
for check in examine(recipe, workdir):
    print(check.verdict, check.subject, check.sentence)
```
"""

import os
import pathlib
import platform
import shutil
import time
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from yolor_jax.data.objects import all_objects
from yolor_jax.errors import MENDABLE, InputError, sentence
from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.paths import Path, is_local
from yolor_jax.runs import anchors, batches, preflight, programs
from yolor_jax.runs.largest_batch import TIGHT, device_bytes
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Sources, open_sources, warnings
from yolor_jax.training import mesh as meshes
from yolor_jax.training.learner import learner
from yolor_jax.training.optim import RunLength
from yolor_jax.training.processes.group import ALONE
from yolor_jax.training.programs.compile_log import CompileLog
from yolor_jax.training.programs.cost import Memory, readable

ACCELERATORS = {
    "/dev/nvidia0": 'pip install -U "jax[cuda13]"',
    "/dev/accel0": "pip install -e .[tpu]",
}
CHECKPOINTS = 4  # on disk at one time: the latest two, the best, and the one being written


class Check(NamedTuple):
    """What was found about one subject; the verdict is "ok", "warn" or "fail"."""

    verdict: str
    subject: str
    sentence: str


def examine(recipe: Recipe | None, workdir: Path) -> Iterator[Check]:
    """Checks the machine and, if there is a recipe, what its run needs; the quick ones first.

    A check whose subject is missing is left out: without data no step is compiled.
    """
    yield versions()
    yield devices()
    yield room(workdir, None)
    if recipe is None:
        return
    try:
        sources = open_sources(recipe.data, progress=True)
        recipe, _ = anchors.resolved(recipe, sources.train, workdir)
        module = recipe.network(len(sources.class_names))
        trained = learner(module, recipe.task_loss, sources.identities)
        run = recipe.length(len(sources.train))
    except MENDABLE as error:
        yield Check("fail", "data", sentence(error))
        return
    yield data(recipe, sources)
    try:
        mesh = meshes.make_mesh(fsdp=recipe.mesh.fsdp)
        programs.require_batch(recipe, mesh)
    except InputError as error:
        yield Check("fail", "batch", str(error))
        return
    yield Check("ok", "batch", f"{recipe.batch_size} images over {mesh.size} devices")
    state = programs.step_arguments(recipe, trained, run=run, mesh=mesh)[0]
    yield room(workdir, sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)))
    yield from compiled_programs(recipe, module, trained, run, mesh)


def versions() -> Check:
    """Python and the libraries that decide results."""
    installed = ", ".join(f"{name} {metadata.version(name)}" for name in preflight.LIBRARIES)
    return Check("ok", "versions", f"Python {platform.python_version()}, {installed}")


def devices() -> Check:
    """What JAX computes on."""
    found = jax.devices()
    kind = found[0].device_kind
    sentence = f"{len(found)} x {found[0].platform}" + (f" ({kind})" if kind != "cpu" else "")
    if found[0].platform != "cpu":
        return Check("ok", "devices", sentence)
    for path, command in ACCELERATORS.items():
        if os.path.exists(path):
            return Check("warn", "devices", f"{sentence}, although there is {path}: {command}")
    return Check("warn", "devices", f"{sentence}: enough for small networks and images only")


def room(workdir: Path, state_bytes: int | None) -> Check:
    """Whether the workdir can be written to, and holds the checkpoints of a state of that size."""
    if is_local(workdir):
        return disk(workdir, state_bytes)
    try:
        preflight.require_writable(workdir, ALONE)
    except MENDABLE as error:
        return Check("fail", "workdir", sentence(error))
    said = f"{workdir} can be written to"
    if state_bytes is not None:
        said += f"; up to {CHECKPOINTS} checkpoints take {readable(CHECKPOINTS * state_bytes)}"
    return Check("ok", "bucket", said)


def disk(workdir: pathlib.Path, state_bytes: int | None) -> Check:
    """`room` on a disk."""
    folder = next(p for p in (workdir.absolute(), *workdir.absolute().parents) if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return Check(
            "fail", "workdir", f"{workdir} cannot be written to: {folder} does not allow it"
        )
    free = shutil.disk_usage(folder).free
    sentence = f"{workdir} has {readable(free)} free"
    if state_bytes is None:
        return Check("ok", "disk", sentence)
    needed = CHECKPOINTS * state_bytes
    sentence += f"; up to {CHECKPOINTS} checkpoints take {readable(needed)}"
    return Check("ok" if needed < free else "fail", "disk", sentence)


def data(recipe: Recipe, sources: Sources) -> Check:
    """How many images, classes and objects there are, and whether the anchors fit them."""
    objects = all_objects(sources.train)
    of_image = np.bincount(objects.image, minlength=len(sources.train))
    empty, full = int((of_image == 0).sum()), int((of_image > recipe.data.max_targets).sum())
    sentence = (
        f"{len(sources.train):,} images to train on, {empty:,} of them without objects, "
        f"{len(objects.labels):,} objects of {len(sources.class_names)} classes; "
        f"{len(sources.evaluation):,} images to evaluate on"
    )
    doubts = []
    if full:
        doubts.append(
            f"{full:,} images have more objects than --config.data.max_targets="
            f"{recipe.data.max_targets}, and lose the smallest"
        )
    absent = len(sources.class_names) - len(np.unique(objects.labels))
    if absent:
        doubts.append(f"{absent} classes have no object")
    said = [*warnings(sources), anchors.warning(recipe, sources.train), batches.warning(recipe)]
    doubts += [one.removeprefix("warning: ") for one in said if one]
    return Check("warn" if doubts else "ok", "data", ". ".join([sentence, *doubts]))


def compiled_programs(
    recipe: Recipe, module: Detector, trained: Detector, run: RunLength, mesh: Mesh
) -> Iterator[Check]:
    """Compiles the training step of each size and prediction: seconds, memory, operations."""
    arguments = programs.step_arguments(recipe, trained, run=run, mesh=mesh)
    steps = programs.make_steps(recipe, trained, arguments[0], run=run, mesh=mesh)
    named = {f"training step at {side} pixels": (steps[side], arguments) for side in steps}
    named["prediction"] = (
        programs.make_prediction(recipe, module, mesh),
        programs.prediction_arguments(recipe, variable_shapes(module), mesh),
    )
    with CompileLog(lambda sentence: None) as log:
        started = time.perf_counter()
        compiled = {name: f.lower(*shapes).compile() for name, (f, shapes) in named.items()}
        seconds = time.perf_counter() - started
    found = f", {log.cached} of them found in the compilation cache" if log.cached else ""
    yield Check(
        "ok",
        "programs",
        f"{len(named)} traced and compiled in {seconds:.0f} s{found}: {', '.join(named)}; "
        "a training compiles its start, and prediction with the folded network, too",
    )
    for name, one in compiled.items():
        yield _memory(name, Memory.of(one), mesh)
    gigaflops = programs.step_flops(recipe, module) / 1e9
    yield Check(
        "ok",
        "FLOPs",
        f"{gigaflops:,.1f} GFLOP for one training step, {gigaflops / recipe.batch_size:,.2f} "
        "for one image",
    )


def _memory(name: str, memory: Memory, mesh: Mesh) -> Check:
    available = device_bytes(mesh)
    sentence = (
        f"the {name} needs {readable(memory.total)} of {readable(available)} on each device: "
        f"{readable(memory.arguments)} of arguments, {readable(memory.temporaries)} of temporaries"
    )
    if memory.total <= TIGHT * available:
        return Check("ok", "memory", sentence)
    verdict = "fail" if memory.total > available else "warn"
    advice = "set --config.batch_size=auto, or lower --config.eval.batch_size for prediction"
    return Check(verdict, "memory", f"{sentence}; {advice}, or set --config.remat=.")
