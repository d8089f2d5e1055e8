"""Evaluation of a recipe's network, shared by training and ``eval_main.py``."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import eval_batches
from yolor_jax.errors import InputError, user_errors, user_errors_in
from yolor_jax.evaluation.coco import NUMBERS, Metrics, format_table
from yolor_jax.evaluation.evaluate import Evaluation, evaluate
from yolor_jax.evaluation.tasks import evaluate_tasks, task_numbers
from yolor_jax.models.detector import Detector
from yolor_jax.runs import preflight, programs, recipe
from yolor_jax.runs.trained import open_checkpoint
from yolor_jax.training.mesh import batch_sharding, make_mesh, whole
from yolor_jax.training.processes.group import ALONE, ProcessGroup

Evaluator = Callable[[Mapping], Evaluation]


def make_evaluator(
    config: ConfigDict, module: Detector, source: recipe.Split, mesh: Mesh, *, progress: bool = True
) -> Evaluator:
    """``evaluator(variables) -> Evaluation`` on all images of a split; compiles once.

    A model with further tasks looks at the images a second time; their numbers stand beside the
    twelve.

    Args:
        config: the recipe.
        module: the network, folded or not.
        source: the split.
        mesh: the devices that share each batch.
        progress: whether to show a bar.
    """
    predict = programs.make_prediction(config, module, mesh)
    observe = programs.make_observation(module, mesh)
    tasks = module.spec.tasks

    def batches(max_targets: int) -> Iterator[Batch]:
        given = eval_batches(
            source,
            image_size=config.image_size,
            batch_size=programs.evaluation_batch_size(config, mesh),
            max_targets=max_targets,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.data.threads,
            workers=config.data.workers,
        )
        return user_errors_in(given)

    def evaluator(variables: Mapping) -> Evaluation:
        variables = whole(mesh, variables)
        shown = {"sharding": batch_sharding(mesh), "progress": progress}
        evaluation = evaluate(
            predict, variables, batches(0), source, backend=config.eval.backend, **shown
        )
        if not tasks:
            return evaluation
        targets = batches(config.data.max_targets)
        more = evaluate_tasks(observe, variables, targets, source, tasks=tasks, **shown)
        return evaluation._replace(metrics=evaluation.metrics | more)

    return evaluator


def table(columns: Mapping[str, Metrics], module: Detector) -> str:
    """The numbers of evaluations of a network, with those of all its tasks."""
    return format_table(columns, (*NUMBERS, *task_numbers(module.spec.tasks)))


def write_detections(path: pathlib.Path, evaluation: Evaluation) -> None:
    """Writes a COCO results file."""
    path.write_text(json.dumps(evaluation.results))


@dataclasses.dataclass(frozen=True)
class Options:
    """What ``eval_main.py`` may be asked for; None keeps what the recipe says.

    Attributes:
        checkpoint: workdir of a training run, or a file of weights.
        data: a data set, see `configs/base.py`.
        split: of the data set.
        image_size: pixels.
        backend: "faster-coco-eval" or "pycocotools".
        step: of the run's checkpoint; the latest if None.
        folded: evaluate the folded network.
    """

    checkpoint: pathlib.Path
    data: str | None = None
    split: str | None = None
    image_size: int | None = None
    backend: str | None = None
    step: int | None = None
    folded: bool = False


def run(
    options: Options, config: ConfigDict | None = None, group: ProcessGroup = ALONE
) -> Evaluation:
    """Evaluates a checkpoint, prints the table and writes the boxes as COCO results.

    Args:
        options: what to evaluate.
        config: the recipe for a file of weights; a run has its own, and takes from this one what
            did not exist yet when it was started.
        group: the processes that evaluate together, connected.

    Raises:
        CommandError: there is no such checkpoint, or the data does not fit it.
    """
    with user_errors():
        if config is None or options.checkpoint.is_dir():
            config = recipe.load(options.checkpoint, config)
        checkpoint = open_checkpoint(options.checkpoint, options.step)
        if options.folded and not checkpoint.fused:
            checkpoint = checkpoint.folded()
        _adapt(config, options, checkpoint.meta)
        recipe.check(config)
        source = preflight.open_evaluation(config, group)
        require_classes(source, checkpoint.meta, options.checkpoint)
        num_classes = checkpoint.meta["num_classes"]
        module = recipe.detector(config, num_classes, fused=checkpoint.fused)
    evaluation = make_evaluator(config, module, source, make_mesh())(checkpoint.variables)
    path = options.checkpoint / "detections.json"
    if options.checkpoint.is_file():
        path = options.checkpoint.with_suffix(".detections.json")
    if group.is_first:
        write_detections(path, evaluation)
    kind = "folded" if checkpoint.fused else "trained"
    print(table({kind: evaluation.metrics}, module))
    print(f"{len(source)} images of {config.data.path}, {source.split}; boxes in {path}")
    return evaluation


def _adapt(config: ConfigDict, options: Options, meta: Mapping[str, Any]) -> None:
    """Sets a recipe to what was asked for, and to the network of a file of weights."""
    with config.unlocked():
        if options.checkpoint.is_file():
            config.model.name, config.model.implicit = meta["model"], meta["implicit"]
            config.model.tasks = meta.get("tasks", ())
            config.model.anchors = meta.get("anchors")
            config.image_size = meta["image_size"]
        config.data.path = options.data or config.data.path
        config.data.eval_split = options.split or config.data.eval_split
        if options.data or options.split:
            config.data.first = 0
        if options.image_size is not None:
            config.image_size = options.image_size
        config.eval.backend = options.backend or config.eval.backend


def require_classes(source: recipe.Split, meta: Mapping[str, Any], path: pathlib.Path) -> None:
    """Raises an InputError unless a data set has the classes that a checkpoint was trained for."""
    names = tuple(meta["class_names"])
    if source.class_names != names:
        raise InputError(
            f"{path} was trained for {len(names)} classes ({', '.join(names[:5])} ...), but the "
            f"data set has {len(source.class_names)} ({', '.join(source.class_names[:5])} ...); "
            "evaluate on data with the same categories in the same order"
        )
