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

from yolor_jax.cli.figures import add_json_argument, figures_writer
from yolor_jax.cli.recipe_flags import add_recipe_argument, read_recipe
from yolor_jax.errors import CommandError, user_errors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor doctor``."""
    add_recipe_argument(parser, required=False)
    parser.add_argument(
        "--workdir", default="runs", help="of the run, for its disk space (%(default)s)"
    )
    parser.add_argument(
        "--topology", metavar="NAME", help="compile for such a TPU slice: v5e:4x4, v4:2x2x2, ..."
    )
    parser.add_argument(
        "--classes", type=int, default=80, help="with --topology, which opens no data (%(default)s)"
    )
    parser.add_argument("--replay", metavar="FILE", help="the bad batch of a run that stopped")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor doctor``: 0, or 1 where something fails or does not fit.

    Raises:
        CommandError: no such recipe or topology, or libtpu is not installed.
    """
    if args.settings and not args.config:
        raise CommandError(f"got {' '.join(args.settings)} without --config, the recipe")
    if args.topology and not args.config:
        raise CommandError("--topology compiles the programs of a recipe; expected --config too")
    if args.replay and (args.config or args.topology or args.json):
        raise CommandError("--replay finds its recipe beside the file; expected no other option")
    save = figures_writer(args.json)
    from yolor_jax.cli import launch
    from yolor_jax.runs import recipe

    launch.quiet_libraries()
    if args.replay:
        from yolor_jax.runs.replay import replay

        launch.use_compilation_cache()
        return replay(args.replay)
    config = None
    if args.config:
        with user_errors():
            config = read_recipe(args)
            recipe.check(config)
    code, figures = _topology(args, config) if args.topology else _checks(args, config)
    save(figures)
    return code


def _topology(args: argparse.Namespace, config) -> tuple[int, dict]:
    """Compiles for a TPU slice; the exit code and the figures."""
    import jax

    from yolor_jax.runs import ahead_of_time

    jax.config.update("jax_platforms", "cpu")  # libtpu must not look for a TPU here
    with user_errors():
        report = ahead_of_time.compile_recipe(config, args.topology, args.classes)
    print(ahead_of_time.format_report(report))
    return int(not report.fits), ahead_of_time.as_dict(report)


def _checks(args: argparse.Namespace, config) -> tuple[int, dict]:
    """Prints each check as it ends; the exit code and the figures."""
    from yolor_jax.cli import launch
    from yolor_jax.runs import checks

    launch.use_compilation_cache()
    found = []
    for check in checks.examine(config, pathlib.Path(args.workdir)):
        found.append(check)
        print(f"{check.verdict:<5} {check.subject:<10} {check.sentence}", flush=True)
    failed = any(check.verdict == "fail" for check in found)
    return int(failed), {"checks": [check._asdict() for check in found]}
