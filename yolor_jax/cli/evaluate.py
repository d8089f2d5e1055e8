"""Evaluate a run, a file of weights, an exported file or a file of boxes by the COCO protocol.

    yolor eval --workdir runs/quickstart
    yolor eval --workdir runs/quickstart --step best --folded --rect --tta
    yolor eval --checkpoint p6.safetensors --data data/coco --split val2017
    yolor eval --exported p6.onnx --data data/coco --split val2017
    yolor eval --results detections.json --data data/coco --split val2017

Prints the tables. Each evaluation has a folder of its own with its boxes (detections.json, COCO
results) and all its numbers (evaluation.json): in the folder ``evaluations`` of the run, or beside
the file in ``STEM.evaluations``.
"""

import argparse
import shlex
from typing import TYPE_CHECKING

from yolor_jax import bucket
from yolor_jax.cli import launch
from yolor_jax.cli.arguments import add_knowledge_argument, add_step_argument, any_path, local_path
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.paths import Path
    from yolor_jax.runs.evaluation import Evaluated
    from yolor_jax.runs.evaluation_mode import Mode
    from yolor_jax.runs.scores import Scores
    from yolor_jax.training.processes.group import ProcessGroup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor eval``."""
    what = parser.add_argument_group("what (one of them)")
    what.add_argument("--workdir", type=any_path, metavar="DIR", help="folder of a training run")
    what.add_argument("--checkpoint", type=any_path, metavar="FILE", help="file of weights")
    what.add_argument(
        "--results", type=local_path, metavar="FILE", help="boxes, a COCO results file, of anybody"
    )
    what.add_argument(
        "--exported", type=local_path, metavar="FILE", help="of yolor export, by its own runtime"
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="data set, if not that of the run; with --results also annotations in COCO's format",
    )
    parser.add_argument("--split", metavar="NAME", help="split, if not that of the run")
    parser.add_argument(
        "--backend", metavar="NAME", help="faster-coco-eval (default), pycocotools or hotcoco"
    )
    scored = parser.add_argument_group("what is compared")
    scored.add_argument(
        "--classes", nargs="+", default=(), metavar="CLASS", help="names of those to look for (all)"
    )
    scored.add_argument(
        "--single-class", action="store_true", help="all classes count as one, NMS among all"
    )
    network = parser.add_argument_group("how the network looks (not with --results)")
    add_step_argument(network)
    add_knowledge_argument(network)
    network.add_argument("--folded", action="store_true", help="fold the network first")
    network.add_argument(
        "--image-size",
        "--image_size",
        type=int,
        metavar="N",
        help="pixels, if not those of the run",
    )
    network.add_argument(
        "--rect",
        action="store_true",
        help="the original's rectangular batches, sorted by aspect ratio; a compilation for each "
        "shape",
    )
    network.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation: three sizes, one of them mirrored, as the original",
    )
    network.add_argument(
        "--class-agnostic", action="store_true", help="NMS among boxes of all classes"
    )
    network.add_argument(
        "--max-detections", type=int, metavar="N", help="boxes of an image at most (of the recipe)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor eval`` and returns the exit code; see `launch.together`.

    Raises:
        InputError: not just one of workdir, checkpoint, exported file and results.
    """
    given = [args.workdir, args.checkpoint, args.exported, args.results]
    if sum(one is not None for one in given) != 1:
        raise InputError(
            "expected one of --workdir=FOLDER, --checkpoint=FILE, --exported=FILE and "
            "--results=FILE"
        )
    if args.exported is not None:
        evaluate_exported(args)
        return 0
    if args.results is not None:
        score(args)
        return 0
    settings = {
        name: str(value)
        for name, value in vars(args).items()
        if not name.startswith("run_") and name != "command"
    }
    return launch.together("eval", lambda group: evaluate(args, group), settings)


def score(args: argparse.Namespace) -> None:
    """Compares a file of boxes with a ground truth, and prints the tables.

    Raises:
        InputError: the boxes or the data are of no use, or a setting is about a network.
    """
    from yolor_jax.evaluation.coco import format_table
    from yolor_jax.runs import scores

    mode = _mode(args)
    of_a_network = {
        "--step": args.step,
        "--knowledge": args.knowledge,
        "--folded": args.folded,
        "--image-size": args.image_size,
        "--rect": mode.rectangular,
        "--tta": mode.tta,
        "--class-agnostic": mode.class_agnostic,
        "--max-detections": mode.max_detections,
    }
    if wrong := [name for name, value in of_a_network.items() if value]:
        raise InputError(f"{wrong[0]} says how a network looks, and --results needs none")
    if args.data is None:
        raise InputError("--results needs --data: the data set that the boxes are of")
    backend = {} if args.backend is None else {"backend": args.backend}
    scored = scores.score(args.results, args.data, args.split, mode=mode, **backend)
    _report(args.results, scored, format_table({"boxes": scored.metrics}), len(scored.results))


def evaluate_exported(args: argparse.Namespace) -> None:
    """Evaluates an exported file, prints the tables and writes boxes and numbers.

    Raises:
        InputError: the file or the data are of no use, or a setting is about the network itself.
    """
    from yolor_jax.runs import evaluation, exported, recipe_files

    fixed = {"--step": args.step, "--folded": args.folded, "--image-size": args.image_size}
    fixed |= {"--max-detections": args.max_detections, "--knowledge": args.knowledge}
    if wrong := [name for name, value in fixed.items() if value]:
        raise InputError(f"{wrong[0]} is fixed in an exported file; export it anew for another")
    if args.data is None:
        raise InputError("--exported needs --data: the data set to evaluate on")
    launch.quiet_libraries()
    network = exported.ExportedNetwork(args.exported)
    recipe = recipe_files.defaults()
    recipe = evaluation.on(recipe, data=args.data, split=args.split, backend=args.backend)
    evaluated = exported.evaluate(network.file, recipe, mode=_mode(args), progress=True)
    table = evaluation.table({"exported": evaluated.metrics}, evaluated.module)
    _report(args.exported, evaluated, table, len(evaluated.results))


def evaluate(args: argparse.Namespace, group: "ProcessGroup") -> None:
    """Evaluates, prints the tables and writes boxes and numbers.

    Raises:
        InputError: there is no such checkpoint, or the data does not fit it.
    """
    from yolor_jax.runs import evaluation, recipe_files
    from yolor_jax.runs import recipe as recipes
    from yolor_jax.runs.opening import load

    place = args.workdir or args.checkpoint
    with bucket.as_os_error(place):
        is_file = place.is_file()
    recipe = recipe_files.defaults() if is_file else recipes.load(place)
    trained = load(place, args.step, knowledge=args.knowledge)
    recipe = evaluation.of_network(recipe, trained)
    recipe = evaluation.on(
        recipe,
        data=args.data,
        split=args.split,
        image_size=args.image_size,
        backend=args.backend,
    )
    if args.folded and not trained.fused:
        trained = trained.folded()
    evaluated = evaluation.evaluate(trained, recipe, group, mode=_mode(args), progress=True)
    kind = "folded" if trained.fused else "trained"
    table = evaluation.table({kind: evaluated.metrics}, evaluated.module)
    if group.is_first:
        _report(place, evaluated, table, len(evaluated.results))


def _mode(args: argparse.Namespace) -> "Mode":
    from yolor_jax.runs.evaluation_mode import Mode

    return Mode(
        rectangular=args.rect,
        tta=args.tta,
        single_class=args.single_class,
        class_agnostic=args.class_agnostic,
        classes=tuple(args.classes),
        max_detections=args.max_detections,
    )


def _report(place: "Path", evaluated: "Evaluated | Scores", table: str, boxes: int) -> None:
    """Prints the tables, writes the folder of the evaluation and says where it is."""
    from yolor_jax.cli.evaluation_tables import analysis_text
    from yolor_jax.runs import evaluation_folder

    data, *how = evaluation_folder.facts(evaluated.about())
    print(f"{data}; {', '.join(how)}")
    print(table)
    folder, analysis = evaluation_folder.write(evaluation_folder.root_of(place), evaluated)
    if sum(one.objects for one in analysis.classes):
        print(f"\n{analysis_text(analysis)}")
    else:
        print("the split has no objects: nothing was measured, the boxes are written")
    print(f"\n{boxes:,} boxes and all numbers are in {folder}")
    print(f"Look at it: yolor report {shlex.quote(str(folder))}")
