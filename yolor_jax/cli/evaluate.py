"""Evaluation of a recipe's network, shared by training and ``eval_main.py``."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.cli import recipe
from yolor_jax.cli.errors import user_errors, user_errors_in
from yolor_jax.data.pipeline import eval_batches
from yolor_jax.evaluation.coco import format_table
from yolor_jax.evaluation.evaluate import Evaluation, evaluate
from yolor_jax.inference.predictor import make_predict
from yolor_jax.models.detector import Detector
from yolor_jax.models.fold import fold
from yolor_jax.training.checkpoint import load_variables
from yolor_jax.training.mesh import batch_sharding, make_mesh, over_batch, replicated

Evaluator = Callable[[Mapping], Evaluation]


def make_evaluator(
    config: ConfigDict, module: Detector, source: recipe.Split, mesh: Mesh, *, progress: bool = True
) -> Evaluator:
    """``evaluator(variables) -> Evaluation`` on all images of a split; compiles once.

    Args:
        config: the recipe.
        module: the network, folded or not.
        source: the split.
        mesh: the devices that share each batch.
        progress: whether to show a bar.
    """
    batch_size = -(-config.eval.batch_size // mesh.size) * mesh.size  # fillings are masked
    predict = jax.jit(over_batch(mesh, make_predict(module, recipe.evaluation_nms(config))))

    def evaluator(variables: Mapping) -> Evaluation:
        batches = eval_batches(
            source,
            image_size=config.image_size,
            batch_size=batch_size,
            max_targets=0,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.data.threads,
        )
        return evaluate(
            predict,
            jax.device_put(variables, replicated(mesh)),
            user_errors_in(batches),
            source,
            backend=config.eval.backend,
            sharding=batch_sharding(mesh),
            progress=progress,
        )

    return evaluator


def write_detections(path: pathlib.Path, evaluation: Evaluation) -> None:
    """Writes a COCO results file."""
    path.write_text(json.dumps(evaluation.results))


@dataclasses.dataclass(frozen=True)
class Options:
    """What ``eval_main.py`` may be asked for beyond the run's own recipe; None keeps the recipe's.

    Attributes:
        workdir: of the training run.
        data: a data set, see `configs/base.py`.
        split: of the data set.
        image_size: pixels.
        backend: "faster-coco-eval" or "pycocotools".
        step: of the checkpoint; the latest if None.
        folded: evaluate the folded network.
    """

    workdir: pathlib.Path
    data: str | None = None
    split: str | None = None
    image_size: int | None = None
    backend: str | None = None
    step: int | None = None
    folded: bool = False


def run(options: Options) -> Evaluation:
    """Evaluates a checkpoint, prints the table and writes ``detections.json``.

    Raises:
        CommandError: the workdir holds no run, or the data does not fit it.
    """
    with user_errors():
        config = recipe.load(options.workdir)
        with config.unlocked():
            config.data.path = options.data or config.data.path
            config.data.eval_split = options.split or config.data.eval_split
            if options.data or options.split:
                config.data.first = 0
            config.image_size = options.image_size or config.image_size
            config.eval.backend = options.backend or config.eval.backend
        recipe.check(config)
        variables, meta = load_variables(options.workdir, options.step)
        source = recipe.open_split(config, config.data.eval_split)
        require_classes(source, meta, options.workdir)
        module = recipe.detector(config, meta["num_classes"], fused=options.folded)
    if options.folded:
        variables = fold(module.spec, variables)
    evaluation = make_evaluator(config, module, source, make_mesh())(variables)
    path = options.workdir / "detections.json"
    write_detections(path, evaluation)
    kind = "folded" if options.folded else "trained"
    print(format_table({kind: evaluation.metrics}))
    print(f"{len(source)} images of {config.data.path}, {source.split}; boxes in {path}")
    return evaluation


def require_classes(source: recipe.Split, meta: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Raises a ValueError unless a data set has the classes that a checkpoint was trained for."""
    names = tuple(meta["class_names"])
    if source.class_names != names:
        raise ValueError(
            f"{workdir} was trained for {len(names)} classes ({', '.join(names[:5])} ...), but the "
            f"data set has {len(source.class_names)} ({', '.join(source.class_names[:5])} ...); "
            "evaluate on data with the same categories in the same order"
        )
