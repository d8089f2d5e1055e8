"""Check this machine, or a recipe on it, before a run; or a recipe on a TPU that is not there.

    yolor doctor
    yolor doctor --config configs/coco640.py:yolor_csp --config.data.path=data/coco
    yolor doctor --config configs/coco640.py:yolor_csp --config.batch_size=128 --topology v5e:4x4
    yolor doctor --replay runs/csp/bad_batch_1234.npz

The second compiles the training step and prediction of the recipe here, and says what memory they
need. The third compiles them for a TPU slice, on this machine and without a TPU; it needs libtpu
(pip install -e .[tpu]). The last one looks for the image that made a loss infinite or NaN. The exit
code is 1 where something fails or does not fit.
"""

import argparse
import pathlib
from typing import TYPE_CHECKING

from yolor_jax.cli import launch
from yolor_jax.cli.arguments import any_path
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.cli.recipes import add_recipe_option, read_draft, read_recipe
from yolor_jax.errors import MENDABLE, InputError
from yolor_jax.progress import to_stderr

if TYPE_CHECKING:
    from yolor_jax.paths import Path
    from yolor_jax.runs.recipe import Recipe

COCO_CLASSES = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor doctor``."""
    add_recipe_option(parser, required=False)
    parser.add_argument(
        "--workdir",
        type=any_path,
        default=pathlib.Path("runs"),
        help="of the run, for its disk space (%(default)s)",
    )
    parser.add_argument(
        "--topology", metavar="NAME", help="compile for such a TPU slice: v5e:4x4, v4:2x2x2, ..."
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="K",
        help=f"with --topology, where the data are not here (those of the data, or {COCO_CLASSES})",
    )
    parser.add_argument(
        "--replay", type=any_path, metavar="FILE", help="the bad batch of a run that stopped"
    )
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor doctor``: 0, or 1 where something fails or does not fit.

    Raises:
        InputError: no such recipe or topology, or libtpu is not installed.
    """
    if args.settings and not args.config:
        raise InputError(f"got {' '.join(args.settings)} without --config, the recipe")
    if args.topology and not args.config:
        raise InputError("--topology compiles the programs of a recipe; expected --config too")
    if args.replay and (args.config or args.topology or args.json):
        raise InputError("--replay finds its recipe beside the file; expected no other option")
    save = figures_writer(args.json)
    launch.quiet_libraries()
    if args.replay:
        return _replay(args.replay)
    if args.topology and read_draft(args.config, args.settings).auto_batch:
        raise InputError(
            "--topology says which batch fits where the recipe's does not; expected "
            "--config.batch_size=N and not auto, which is decided by the devices that are here"
        )
    recipe = read_recipe(args.config, args.settings) if args.config else None
    code, figures = _topology(args, recipe) if args.topology else _checks(args, recipe)
    save(figures)
    return code


def _replay(file: "Path") -> int:
    """Looks at a bad batch once more, and draws it beside its file."""
    from yolor_jax.runs.replay import describe, draw, replay

    launch.use_compilation_cache()
    replayed = replay(file)
    print(describe(replayed))
    sheet = file.with_suffix(".png")
    draw(sheet, replayed)
    print(f"the augmented images and their boxes: {sheet}")
    return 0


def _topology(args: argparse.Namespace, recipe: "Recipe") -> tuple[int, dict]:
    """Compiles for a TPU slice; the exit code and the figures."""
    import jax

    from yolor_jax.runs import ahead_of_time

    jax.config.update("jax_platforms", "cpu")  # libtpu must not look for a TPU here
    classes = args.classes or _classes(recipe)
    report = ahead_of_time.compile_recipe(recipe, args.topology, classes, to_stderr)
    print(ahead_of_time.format_report(report))
    return int(not report.fits), ahead_of_time.as_dict(report)


def _classes(recipe: "Recipe") -> int:
    """The number of classes of the recipe's data, or COCO's where the data are not here."""
    from yolor_jax.preparation.dataset import count_classes

    try:
        return count_classes(recipe.data.path, recipe.data.eval_split)
    except MENDABLE:
        print(f"the data are not here: {COCO_CLASSES} classes are taken (--classes says others)")
        return COCO_CLASSES


def _checks(args: argparse.Namespace, recipe: "Recipe | None") -> tuple[int, dict]:
    """Prints each check as it ends; the exit code and the figures."""
    from yolor_jax.runs import checks

    launch.use_compilation_cache()
    found = []
    for check in checks.examine(recipe, args.workdir):
        found.append(check)
        print(f"{check.verdict:<5} {check.subject:<10} {check.sentence}", flush=True)
    failed = any(check.verdict == "fail" for check in found)
    return int(failed), {"checks": [check._asdict() for check in found]}
