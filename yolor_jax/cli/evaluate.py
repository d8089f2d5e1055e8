"""Evaluate the latest checkpoint of a run, or a file of weights, by the COCO protocol.

    yolor eval --workdir runs/quickstart
    yolor eval --workdir runs/quickstart --folded --backend pycocotools
    yolor eval --checkpoint p6.safetensors --data data/coco --split val2017

Prints the table, and writes the boxes as a COCO results file beside the checkpoint.
"""

import argparse
import pathlib
from typing import TYPE_CHECKING

from yolor_jax import bucket
from yolor_jax.cli import launch
from yolor_jax.cli.arguments import add_step_argument, any_path
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.paths import Path
    from yolor_jax.runs.recipe import DataRecipe
    from yolor_jax.training.processes.group import ProcessGroup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor eval``."""
    parser.add_argument("--workdir", type=any_path, metavar="DIR", help="folder of a training run")
    parser.add_argument(
        "--checkpoint", type=any_path, metavar="FILE", help="file of weights instead of a run"
    )
    parser.add_argument("--data", metavar="FOLDER", help="data set, if not that of the run")
    parser.add_argument("--split", metavar="NAME", help="split, if not that of the run")
    parser.add_argument(
        "--image-size",
        "--image_size",
        type=int,
        metavar="N",
        help="pixels, if not those of the run",
    )
    parser.add_argument(
        "--backend", metavar="NAME", help="faster-coco-eval, pycocotools or hotcoco"
    )
    add_step_argument(parser)
    parser.add_argument("--folded", action="store_true", help="fold the network first")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor eval`` and returns the exit code; see `launch.together`.

    Raises:
        InputError: neither or both of workdir and checkpoint.
    """
    if (args.workdir is None) == (args.checkpoint is None):
        raise InputError("expected one of --workdir=FOLDER and --checkpoint=FILE")
    names = ("workdir", "checkpoint", "data", "split", "image_size", "backend", "step", "folded")
    settings = {name: str(getattr(args, name)) for name in names}
    return launch.together(lambda group: evaluate(args, group), settings)


def evaluate(args: argparse.Namespace, group: "ProcessGroup") -> None:
    """Evaluates, prints the table and writes the boxes.

    Raises:
        InputError: there is no such checkpoint, or the data does not fit it.
    """
    from yolor_jax.configs import base
    from yolor_jax.runs import evaluation
    from yolor_jax.runs import recipe as recipes
    from yolor_jax.runs.trained import load

    place = args.workdir or args.checkpoint
    with bucket.as_os_error(place):
        is_file = place.is_file()
    if is_file:
        trained = load(place)
        recipe = evaluation.of_network(recipes.read(base.get_config().to_dict()), trained)
    else:
        recipe = recipes.load(place)
        trained = load(place, args.step)
    of_the_run = recipe.data
    recipe = evaluation.on(
        recipe,
        data=args.data,
        split=args.split,
        image_size=args.image_size,
        backend=args.backend,
    )
    if args.folded and not trained.fused:
        trained = trained.folded()
    evaluated = evaluation.evaluate(trained, recipe, group, progress=True)
    kind = "folded" if trained.fused else "trained"
    print(evaluation.table({kind: evaluated.metrics}, evaluated.module))
    boxes = boxes_file(place, recipe.data, of_the_run)
    replaced = ", in place of those that were there" if boxes.exists() else ""
    if group.is_first:
        evaluation.write_detections(boxes, evaluated.evaluation)
    source = evaluated.source
    images = f"{len(source)} images of {recipe.data.path}, {source.split}"
    print(f"{images}; boxes in {boxes}{replaced}")


def boxes_file(place: "Path", data: "DataRecipe", of_the_run: "DataRecipe") -> "Path":
    """Where the boxes go: each data set and split has a file of its own.

    Args:
        place: the workdir of a run, or a file of weights.
        data: that was evaluated on.
        of_the_run: that it was trained with; its boxes are in detections.json.
    """
    same = (data.path, data.eval_split) == (of_the_run.path, of_the_run.eval_split)
    name = (
        "detections"
        if same
        else f"detections_{pathlib.Path(data.path).absolute().name}_{data.eval_split}"
    )
    return place.with_suffix(f".{name}.json") if place.is_file() else place / f"{name}.json"
