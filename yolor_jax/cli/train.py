"""Train a detector, evaluate and fold it, and draw what it finds.

    yolor train                                  # the quickstart, minutes on a CPU
    yolor train --data FOLDER                    # one's own: sizes and lengths by the data
    yolor train coco640:yolor_csp --data data/coco --workdir runs/csp --config.batch_size=128

The same command with the same workdir continues a run that was stopped. RECIPE is the name of a
shipped recipe or a Python file (yolor_jax.configs has the shipped ones to import and change).
"""

import argparse
import pathlib
import shlex
from typing import TYPE_CHECKING

from yolor_jax.cli import launch, recipes
from yolor_jax.cli.arguments import any_path
from yolor_jax.errors import InputError
from yolor_jax.progress import to_stderr
from yolor_jax.stamp import command

if TYPE_CHECKING:
    from yolor_jax.evaluation.coco import Metrics
    from yolor_jax.paths import Path
    from yolor_jax.runs.draft import Draft
    from yolor_jax.runs.recipe import Recipe
    from yolor_jax.runs.run import Run
    from yolor_jax.runs.training import Outcome
    from yolor_jax.training.processes.group import ProcessGroup

QUICKSTART, OWN = "quickstart", "own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor train``."""
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE[:ROW]",
        help=f"what to train ({QUICKSTART}; with --data {OWN})",
    )
    recipes.add_recipe_option(parser, required=False)
    parser.add_argument("--data", metavar="FOLDER", help="short for --config.data.path=FOLDER")
    parser.add_argument(
        "--workdir",
        type=any_path,
        metavar="DIR",
        help="folder of the run (runs/RECIPE, runs/RECIPE/ROW)",
    )


def more_help() -> str:
    """What ``--help`` says below the arguments: all settings."""
    from yolor_jax.cli.settings import format_settings

    return f"settings, with their defaults in configs/base.py:\n{format_settings()}"


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor train`` and returns the exit code; see `launch.together`.

    Raises:
        InputError: there is no such recipe or setting.
    """
    from yolor_jax.preparation.dataset import BUILT_IN

    if args.recipe and args.config:
        raise InputError(f"got the recipes {args.recipe} and {args.config}; expected one")
    own = args.data and args.data not in BUILT_IN
    config = args.recipe or args.config or (OWN if own else QUICKSTART)
    data = [f"--config.data.path={args.data}"] if args.data else []
    draft = recipes.read_draft(config, [*args.settings, *data])
    name, _, row = config.partition(":")
    workdir = args.workdir or pathlib.Path("runs", pathlib.Path(name).stem, row)
    settings = {"config": draft.asked(), "workdir": str(workdir)}
    return launch.together(
        "train",
        lambda group: train_and_report(whole_recipe(draft, workdir, group), workdir, group),
        settings,
    )


def whole_recipe(draft: "Draft", workdir: "Path", group: "ProcessGroup") -> "Recipe":
    """The recipe with what data and devices decide of it; says what that is."""
    from yolor_jax.runs.draft import continued, decide

    decided = decide(continued(draft, workdir), group, say=to_stderr, progress=True)
    if decided.said:
        print(decided.said)
    return decided.recipe


def train_and_report(recipe: "Recipe", workdir: "Path", group: "ProcessGroup") -> None:
    """Trains, tells of it, and writes the page on the run when it is at its end.

    One of several processes cannot: Orbax opens a checkpoint in all of them or in none.
    """
    from yolor_jax.training.processes.group import ALONE

    if not train(recipe, workdir, group):
        return
    if group is ALONE:
        report(workdir)
    else:
        print(f"All of it on one page:\n  yolor report {shlex.quote(str(workdir))}")


def report(workdir: "Path") -> None:
    """Writes the page on a run; what hinders that is said, and takes no number away."""
    from yolor_jax.reports.after_training import leave_page

    if path := leave_page(workdir, to_stderr):
        print(f"All of it on one page:\n  {path}")


def train(recipe: "Recipe", workdir: "Path", group: "ProcessGroup") -> bool:
    """Trains, and tells of it; on SIGTERM it says how to continue.

    Returns:
        Whether the run is at its end.
    """
    import tqdm

    from yolor_jax.runs.evaluation import table
    from yolor_jax.runs.run import open_run
    from yolor_jax.runs.training import train_run

    run = open_run(recipe, workdir, group, progress=True)
    print(opening(run))
    for note in run.notes:
        print(note)
    outcome = train_run(run, say=tqdm.tqdm.write, progress=True)
    if outcome.preempted:
        print(preempted(outcome))
        return False
    columns = {"trained": outcome.trained.metrics, "folded": outcome.folded.metrics}
    print(table(columns, run.module))
    if outcome.unwritten:
        raise outcome.unwritten
    print(closing(run, outcome))
    return True


def opening(run: "Run") -> str:
    """Says what will be trained on what."""
    import jax

    from yolor_jax.models.detector import variable_shapes
    from yolor_jax.training import freeze

    recipe, sources = run.recipe, run.sources
    params = variable_shapes(run.learner)["params"]
    parameters = f"{sum(leaf.size for leaf in jax.tree.leaves(params)):,} parameters"
    if recipe.optim.freeze:
        parameters += f", {freeze.count(params, recipe.optim.freeze):,} of them frozen"
    devices = jax.devices()
    return (
        f"{network(recipe)}, {parameters}, {recipe.image_size} pixels, on "
        f"{len(devices)} {devices[0].platform} device{'s' * (len(devices) > 1)}\n"
        f"{len(sources.train):,} images to train on, {len(sources.evaluation):,} to evaluate on, "
        f"{run.num_classes} classes; results go to {run.workdir}"
    )


def network(recipe: "Recipe") -> str:
    """The model by its name, and what the recipe changes of it."""
    model = recipe.model
    said = [model.name]
    if model.tasks:
        said.append(f"also to {' and '.join(model.tasks)}")
    if model.implicit is not None:
        knowledge = f"implicit knowledge {model.implicit}"
        said.append(knowledge if model.implicit else "no implicit knowledge")
    return ", ".join(said)


def closing(run: "Run", outcome: "Outcome") -> str:
    """Says what was made, where, in what time, and what to type next."""
    recipe, workdir, metrics = run.recipe, outcome.workdir, outcome.folded.metrics
    made = {
        "pictures": workdir / "pictures" / "validation.png",
        "boxes": workdir / "detections.json",
        "evaluations": workdir / "evaluations",
        "metrics": workdir / "metrics.jsonl",
        "curves": workdir / "curves.png",
        "checkpoints": workdir / "checkpoints",
    }
    lines = [
        f"{recipe.model.name} is trained ({outcome.seconds / 60:.1f} minutes since this start; "
        f"{outcome.compiled}): {percent(metrics, 'AP')}, {percent(metrics, 'AP50')} on "
        f"{recipe.data.eval_split}.",
        *(f"  {name:<12} {path}" for name, path in made.items()),
        "Next:",
        f"  yolor detect IMAGE... --checkpoint {shlex.quote(str(workdir))}",
        f"  yolor eval --workdir {shlex.quote(str(workdir))}",
    ]
    if recipe.data.path == "shapes":
        lines.append("  yolor train --data FOLDER")
    return "\n".join(lines)


def percent(metrics: "Metrics", name: str) -> str:
    """``AP 46.0 %``, or ``AP -`` where there is nothing to measure."""
    value = metrics[name]
    return f"{name} -" if value is None else f"{name} {100 * value:.1f} %"


def preempted(outcome: "Outcome") -> str:
    """Says that SIGTERM ended the run, what there is of it, and the command to continue."""
    saved = f"step {outcome.step} is saved in {outcome.workdir}"
    left = saved if outcome.step else "before the first step"
    return f"stopped by SIGTERM: {left}. Continue with\n  {command()}"
