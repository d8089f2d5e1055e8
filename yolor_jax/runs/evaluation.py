"""Evaluation of a network on a split as its recipe says, for training and by itself.

```python
trained, recipe = load("runs/csp"), recipes.load("runs/csp")
evaluated = evaluate(trained, on(recipe, data="data/coco", split="val2017"))
evaluated.metrics["AP50"]
```
"""

import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from jax.sharding import Mesh

from yolor_jax.data import rectangles
from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import eval_batches, rectangular_batches
from yolor_jax.errors import InputError
from yolor_jax.evaluation import evaluate as coco
from yolor_jax.evaluation.coco import NUMBERS, Metrics, format_table, require_backend
from yolor_jax.evaluation.coco_curves import CocoCurves
from yolor_jax.evaluation.evaluate import Evaluation, Results
from yolor_jax.evaluation.tasks import evaluate_tasks, task_numbers
from yolor_jax.models.detector import Detector
from yolor_jax.paths import Path
from yolor_jax.runs import preflight, programs
from yolor_jax.runs.batches import reading
from yolor_jax.runs.evaluation_mode import PLAIN, Mode
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split
from yolor_jax.runs.trained import Trained
from yolor_jax.training.checkpoints.statistics import EXACT_STATISTICS
from yolor_jax.training.mesh import batch_sharding, make_mesh, replicate
from yolor_jax.training.processes.group import ALONE, ProcessGroup
from yolor_jax.whole_file import whole_file

Evaluator = Callable[[Mapping], Evaluation]


class Evaluated(NamedTuple):
    """An evaluation and what it was of.

    Attributes:
        evaluation: numbers and boxes.
        module: the network.
        source: the split.
        recipe: data, size and backend.
        mode: how it was done.
        step: of the checkpoint; None for weights that do not say.
        exact_statistics: the images that batch norm's statistics were taken from; None: they are
            the running ones.
        runtime: what has computed an exported file, with its version; None for the network itself.
        knowledge: name of a z that is not the network's own.
    """

    evaluation: Evaluation
    module: Detector
    source: Split
    recipe: Recipe
    mode: Mode
    step: int | None
    exact_statistics: int | None = None
    runtime: str | None = None
    knowledge: str | None = None

    @property
    def metrics(self) -> Metrics:
        """The numbers by name."""
        return self.evaluation.metrics

    @property
    def curves(self) -> CocoCurves | None:
        """COCO's, where the backend gives any."""
        return self.evaluation.curves

    @property
    def results(self) -> Results:
        """The boxes in COCO's results format."""
        return self.evaluation.results

    @property
    def name(self) -> str:
        """Of the evaluation, for a folder: data, split, step, form, size and mode."""
        step = "" if self.step is None else f"-step{self.step}"
        form = "-folded" * self.module.fused
        if self.exact_statistics is not None:
            form += f"-exact{self.exact_statistics}"
        if self.knowledge is not None:
            form += f"-{self.knowledge}"
        data = pathlib.Path(self.recipe.data.path).absolute().name
        return (
            f"{data}-{self.source.split}{step}{form}-{self.recipe.image_size}px{self.mode.suffix()}"
        )

    def about(self) -> dict[str, Any]:
        """What was evaluated, and how, as JSON values."""
        mode = {
            "image_size": self.recipe.image_size,
            "folded": self.module.fused,
            "exact_statistics": self.exact_statistics,
            "knowledge": self.knowledge,
        }
        if self.runtime is not None:
            mode["runtime"] = self.runtime
        nms = self.recipe.eval.nms
        return {
            "data": self.recipe.data.path,
            "split": self.source.split,
            "step": self.step,
            "images": len(self.source),
            "model": self.module.spec.name,
            "mode": {**mode, **self.mode.to_dict(), "backend": self.recipe.eval.backend},
            "nms": {"score_threshold": nms.score_threshold, "iou_threshold": nms.iou_threshold},
        }

    def compared(self) -> tuple[dict, Results]:
        """The ground truth and the boxes that the numbers are of."""
        return self.mode.scored(self.source.ground_truth(), self.results)


def make_evaluator(
    recipe: Recipe,
    module: Detector,
    source: Split,
    mesh: Mesh,
    *,
    mode: Mode = PLAIN,
    progress: bool = False,
) -> Evaluator:
    """``evaluator(variables) -> Evaluation`` on all images of a split; compiles once.

    A model with further tasks looks at the images a second time; their numbers stand beside the
    twelve.

    Args:
        recipe: of the run.
        module: the network, folded or not.
        source: the split.
        mesh: the devices that share each batch.
        mode: how images are looked at, and what is scored. The further tasks look at square
            letterboxed images in any case.
        progress: whether to show a bar.

    Raises:
        ImportError: the library that compares detections with ground truth is not installed.
        InputError: a class of the mode that the split lacks.
    """
    require_backend(recipe.eval.backend)
    mode.require_classes(source.class_names)
    predict = programs.make_prediction(recipe, module, mesh, mode, source.class_names)
    identities = source.targets is not None and source.targets.identities
    observe = programs.make_observation(module, mesh, recipe.eval.nms if identities else None)
    tasks = module.spec.tasks

    settings = {
        "image_size": recipe.image_size,
        "batch_size": programs.evaluation_batch_size(recipe, mesh),
        "reading": reading(recipe, workers=recipe.data.workers),
    }

    def square_batches(max_targets: int) -> Iterator[Batch]:
        scaled = recipe.data.scaled_decode
        return eval_batches(source, max_targets=max_targets, scaled_decode=scaled, **settings)

    def batches() -> Iterator[Batch]:
        if not mode.rectangular:
            return square_batches(max_targets=0)
        grid = max(rectangles.GRID, module.spec.strides[-1])
        return rectangular_batches(source, max_targets=0, grid=grid, **settings)

    def evaluator(variables: Mapping) -> Evaluation:
        variables = replicate(mesh, variables)
        shown = {"sharding": batch_sharding(mesh), "progress": progress}
        evaluation = coco.evaluate(
            predict,
            variables,
            batches(),
            source,
            backend=recipe.eval.backend,
            scored=mode.scored,
            **shown,
        )
        if not tasks:
            return evaluation
        targets = square_batches(recipe.data.max_targets)
        more = evaluate_tasks(observe, variables, targets, source, tasks=tasks, **shown)
        return evaluation._replace(metrics=evaluation.metrics | more)

    return evaluator


def evaluate(
    trained: Trained,
    recipe: Recipe,
    group: ProcessGroup = ALONE,
    *,
    mode: Mode = PLAIN,
    progress: bool = False,
) -> Evaluated:
    """Evaluates a network by the COCO protocol.

    Args:
        trained: the network, folded or not.
        recipe: of its run, or one that was fitted to it (`of_network`); says data, size, backend.
        group: the processes that evaluate together, connected.
        mode: how it is done.
        progress: whether to show bars.

    Raises:
        InputError: the data cannot be used, or has other classes.
    """
    source = preflight.open_evaluation(recipe.data, group, progress=progress)
    require_classes(source, trained.class_names)
    module = recipe.network(len(trained.class_names), fused=trained.fused)
    evaluator = make_evaluator(recipe, module, source, make_mesh(), mode=mode, progress=progress)
    evaluation = evaluator(trained.variables)
    known = (trained.meta.get(name) for name in ("step", EXACT_STATISTICS, "knowledge"))
    return Evaluated(evaluation, module, source, recipe, mode, *known)


def of_network(recipe: Recipe, trained: Trained) -> Recipe:
    """A recipe with the network of a file of weights in the place of its own."""
    meta = trained.meta
    model = {
        "name": meta["model"],
        "implicit": meta["implicit"],
        "tasks": tuple(meta.get("tasks", ())),
        "anchors": meta.get("anchors"),
    }
    return recipe.with_changes(model=model, image_size=meta["image_size"], multi_scale=())


def on(
    recipe: Recipe,
    *,
    data: str | None = None,
    split: str | None = None,
    image_size: int | None = None,
    backend: str | None = None,
) -> Recipe:
    """A recipe that is evaluated on other data; None keeps what it says.

    Args:
        recipe: of a run.
        data: a data set, see `DataRecipe.path`.
        split: of it.
        image_size: side of the network input in pixels.
        backend: one of `evaluation.coco.BACKENDS`.
    """
    changes = {"path": data, "eval_split": split}
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes:
        recipe = recipe.with_changes(data=changes | {"first": 0})
    if image_size is not None:
        recipe = recipe.with_changes(image_size=image_size)
    if backend is not None:
        recipe = recipe.with_changes(eval={"backend": backend})
    return recipe


def table(columns: Mapping[str, Metrics], module: Detector) -> str:
    """The numbers of evaluations of a network, with those of all its tasks."""
    numbers = (*NUMBERS, *task_numbers(module.spec.tasks))
    measured = {name for metrics in columns.values() for name in metrics}
    return format_table(columns, tuple(row for row in numbers if row[0] in measured))


def write_detections(path: Path, evaluation: Evaluation) -> None:
    """Writes a COCO results file, whole or not at all."""
    with whole_file(path) as file:
        file.write_text(json.dumps(evaluation.results))


def require_classes(source: Split, names: tuple[str, ...]) -> None:
    """Raises an InputError unless a data set has the classes that a network was trained for."""
    if source.class_names != names:
        raise InputError(
            f"the network was trained for {len(names)} classes ({', '.join(names[:5])} ...), but "
            f"the data set has {len(source.class_names)} ({', '.join(source.class_names[:5])} "
            "...); evaluate on data with the same categories in the same order"
        )
