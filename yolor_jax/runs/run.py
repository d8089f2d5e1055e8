"""A recipe on its data, its network and its devices, in its folder: all that can be refused.

    run = open_run(recipe, pathlib.Path("runs/quickstart"))
    run.recipe.model.anchors    # found for the data, where the recipe asked for that
    run.notes                   # what to say before it starts

Nothing is trained here, but data may be prepared and anchors found. `runs.training` goes on.
"""

import dataclasses

from jax.sharding import Mesh

from yolor_jax.errors import InputError
from yolor_jax.evaluation.tasks import IDENTITY_NUMBERS
from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.paths import Path
from yolor_jax.runs import anchors, batches, preflight, programs
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Sources, Split, warnings
from yolor_jax.training import freeze
from yolor_jax.training import mesh as meshes
from yolor_jax.training.learner import learner
from yolor_jax.training.optim import RunLength
from yolor_jax.training.processes.group import ALONE, ProcessGroup


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a training run is made of.

    Attributes:
        recipe: with anchors as they are used.
        sources: its two splits, open.
        module: its network, not folded.
        learner: what is trained of it (`training.learner`).
        mesh: the devices of all its processes.
        length: its steps.
        workdir: its folder, which may not be there yet.
        group: its processes, connected.
        notes: sentences for the user, on anchors and data.
    """

    recipe: Recipe
    sources: Sources
    module: Detector
    learner: Detector
    mesh: Mesh
    length: RunLength
    workdir: Path
    group: ProcessGroup
    notes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.sources.class_names)


def open_run(
    recipe: Recipe, workdir: Path, group: ProcessGroup = ALONE, *, progress: bool = False
) -> Run:
    """Opens the data, and fits network and devices to them.

    Args:
        recipe: what is asked for.
        workdir: of the run; one that was stopped goes on with the anchors that it has.
        group: the processes of the run, connected.
        progress: whether a preparation of the data shows bars and its table.

    Raises:
        InputError: the recipe, the data or the workdir cannot be used, or are not the same in all
            processes.
        OSError: the workdir is in a bucket that cannot be written to.
    """
    require_init(recipe)
    preflight.require_writable(workdir, group)
    sources = preflight.open_sources(recipe.data, group, progress=progress)
    recipe, found = anchors.resolved(recipe, sources.train, workdir)
    # Each process has found them by itself: from the same boxes, but perhaps on another processor.
    used = {"model.anchors": str(recipe.model.anchors)}
    advice = "Give them as --config.model.anchors."
    group.agree("anchors", used, advice=advice, timeout=preflight.TIMEOUT)
    module = recipe.network(len(sources.class_names))
    trained = learner(module, recipe.task_loss, sources.identities)
    if recipe.optim.freeze:
        freeze.count(variable_shapes(trained)["params"], recipe.optim.freeze)
    mesh = meshes.make_mesh(fsdp=recipe.mesh.fsdp)
    length = recipe.length(len(sources.train))
    programs.require_batch(recipe, mesh)
    preflight.require_shared(workdir, group)
    require_scored(recipe.eval.best_by, sources.evaluation)
    doubts = [*warnings(sources), anchors.warning(recipe, sources.train), batches.warning(recipe)]
    notes = tuple(filter(None, [found, *doubts]))
    return Run(recipe, sources, module, trained, mesh, length, workdir, group, notes)


def require_scored(number: str, evaluation: Split) -> None:
    """Raises an InputError if ``eval.best_by`` is a number that the split cannot give."""
    known = 0 if evaluation.targets is None else evaluation.targets.identities
    if number in dict(IDENTITY_NUMBERS) and not known:
        raise InputError(
            f"--config.eval.best_by is {number!r}, and the split {evaluation.split!r} has no "
            "identities to count it by; expected a number of its own, such as AP or embed/rank1"
        )


def require_init(recipe: Recipe) -> None:
    """Raises an InputError if the recipe starts from other weights, and none are given."""
    if recipe.init is None:
        raise InputError(
            "this recipe tunes a trained network, and --config.init is missing: expected the "
            "workdir of a run, or a file that yolor convert wrote"
        )
