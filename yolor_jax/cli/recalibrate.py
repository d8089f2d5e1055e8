"""Take batch norm's statistics anew from training images, for a checkpoint of a run.

    yolor recalibrate runs/own --step best
    yolor recalibrate runs/own --images 512

After a short run the running statistics may lie far beside those of the data, and the network
finds less than it has learnt. The exact ones are kept beside the checkpoint, and everything that
opens it uses them from then on; the state that training goes on with stays as it was. --undo takes
them away. Evaluates with both, and says what they change.
"""

import argparse
import shlex
from typing import TYPE_CHECKING

from yolor_jax.cli import launch
from yolor_jax.cli.arguments import add_step_argument, any_path
from yolor_jax.errors import InputError

if TYPE_CHECKING:
    from yolor_jax.training.processes.group import ProcessGroup

IMAGES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor recalibrate``."""
    parser.add_argument("workdir", type=any_path, metavar="RUN", help="folder of a training run")
    add_step_argument(parser)
    parser.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help="images of the training split, augmented as in training (%(default)s)",
    )
    parser.add_argument("--data", metavar="FOLDER", help="the data set, if it lies elsewhere now")
    parser.add_argument("--undo", action="store_true", help="the running statistics again")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor recalibrate`` and returns the exit code; see `launch.together`.

    Raises:
        InputError: the number of images is below one.
    """
    if args.images < 1:
        raise InputError(f"got --images {args.images}; expected one image at least")
    settings = {name: str(getattr(args, name)) for name in ("workdir", "step", "images", "undo")}
    return launch.together("recalibrate", lambda group: recalibrate(args, group), settings)


def recalibrate(args: argparse.Namespace, group: "ProcessGroup") -> None:
    """Writes the statistics beside the checkpoint, and prints what they change.

    Raises:
        InputError: the run has no such checkpoint, or the data cannot be used.
    """
    from yolor_jax.runs import evaluation, recalibration
    from yolor_jax.runs import recipe as recipes
    from yolor_jax.runs.opening import load
    from yolor_jax.training.checkpoints import loading, statistics

    folder, step = loading.find(args.workdir, args.step)
    if args.undo:
        removed = statistics.remove(folder, step) if group.is_first else True
        print(f"step {step}: {'' if removed else 'there were no others than '}running statistics")
        return
    recipe = evaluation.on(recipes.load(args.workdir), data=args.data)
    before = load(args.workdir, step)
    after = recalibration.recalibrated(before, recipe, group, images=args.images, progress=True)
    images = after.meta[statistics.EXACT_STATISTICS]
    columns = {
        name: evaluation.evaluate(trained, recipe, group, progress=True)
        for name, trained in (("before", before), ("exact", after))
    }
    if group.is_first:
        statistics.write(folder, step, after.variables["batch_stats"], images=images)
    metrics = {name: one.metrics for name, one in columns.items()}
    print(evaluation.table(metrics, columns["exact"].module))
    print(
        f"step {step} has the statistics of {images} training images from now on; back again: "
        f"yolor recalibrate {shlex.quote(str(args.workdir))} --step {step} --undo"
    )
