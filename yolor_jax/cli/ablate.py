"""Compare rows of settings over seeds: the paper's ablations, or your own.

    yolor ablate table4 --data data/coco                  # the paper's table 4, as it has it
    yolor ablate detection --recipe quickstart            # its rows on the quickstart
    yolor ablate my_rows.py --data FOLDER --seeds 5

TABLE is table1 to table6, detection (all of them but the third), implicit_tuning, or a Python file
with ROWS, BASELINE and if need be RECIPE; docs/ablations.md has one. Each row and seed is an
ordinary run in a folder of its own, DIR/ROW/seed0. The same command goes on with what is missing,
and writes the table that there is: mean and standard error, and the difference from the baseline by
pairs of one seed.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from yolor_jax.cli import launch, recipes
from yolor_jax.cli.arguments import any_path, positive
from yolor_jax.errors import InputError
from yolor_jax.stamp import command

if TYPE_CHECKING:
    from yolor_jax.ablation.plan import Planned
    from yolor_jax.ablation.table import Table
    from yolor_jax.ablation.training import Done

TRAIN = ("-m", "yolor_jax.cli.main", "train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor ablate``."""
    parser.add_argument("table", metavar="TABLE|FILE", help="which rows")
    parser.add_argument(
        "--recipe", metavar="RECIPE[:ROW]", help="what the rows change (that of the table)"
    )
    parser.add_argument("--rows", metavar="ROW,...", help="these and the baseline alone (all)")
    parser.add_argument("--data", metavar="FOLDER", help="short for --config.data.path=FOLDER")
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="0 to N - 1 (5)")
    parser.add_argument(
        "--workdir", type=any_path, metavar="DIR", help="folder of the runs (runs/TABLE)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--at-once",
        type=positive,
        metavar="N",
        help="runs at the same time, on a GPU each where there are several; 1: each run on all "
        "devices (as many as there are GPUs, or 1)",
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on the machines of a Ray cluster, local to start one here; all must see this "
        "folder and DIR",
    )
    parser.set_defaults(takes_settings=True)


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor ablate``.

    Returns:
        0; 1 if a run failed or was stopped, which is named.

    Raises:
        InputError: a table, row or setting that there is not; a folder with other settings.
        OSError: something cannot be read or written.
    """
    from yolor_jax.ablation import result as results
    from yolor_jax.ablation import table as tables

    launch.quiet_libraries()
    table = tables.find_table(args.table)
    if args.rows:
        table = table.of(args.rows.split(","))
    table = table._replace(recipe=args.recipe or table.recipe)
    workdir = args.workdir or pathlib.Path("runs", pathlib.Path(args.table).stem)
    plan = planned_runs(table, workdir, args)
    failures = _train_missing(plan, args)
    result = results.measure(table, plan)
    if any(row.by_seed for row in result.rows):
        _show(result, workdir)
    for done in failures:
        print(f"not finished: {done.planned.name}: {done.failure} ({done.log})", file=sys.stderr)
    if failures:
        print(f"Go on with\n  {command()}", file=sys.stderr)
    return 1 if failures else 0


def planned_runs(table: "Table", workdir, args: argparse.Namespace) -> list["Planned"]:
    """All runs, all rows of a seed before the next: the table fills evenly.

    Raises:
        InputError: a setting of a row, or one that was given, is of no use; names the row.
    """
    from yolor_jax.ablation.plan import Planned, words
    from yolor_jax.runs.run import require_init

    if any(word.startswith("--config.seed") for word in args.settings):
        raise InputError("the seeds are 0 to N - 1 by --seeds N; leave --config.seed out")
    data = [f"--config.data.path={args.data}"] if args.data else []
    plan = []
    for seed in range(args.seeds):
        for row, settings in table.rows.items():
            given = [*args.settings, *data, *words(settings), f"--config.seed={seed}"]
            if "--config.batch_size=auto" in given:
                raise InputError(
                    "batch_size is auto, which may differ from row to row; give "
                    "--config.batch_size=N, the same for all"
                )
            folder = workdir / row / f"seed{seed}"
            try:
                recipe = recipes.read_recipe(table.recipe, given)
                require_init(recipe)
            except InputError as error:
                raise InputError(f"{error} (of the row {row})") from error
            train = [table.recipe, "--workdir", str(folder), *given]
            plan.append(Planned(row, seed, folder, recipe, train))
    return plan


def _train_missing(plan: list["Planned"], args: argparse.Namespace) -> list["Done"]:
    """Trains what is not finished, with a bar; returns what failed."""
    import tqdm

    from yolor_jax.ablation.plan import standing

    missing = [one for one in plan if standing(one) != "finished"]
    print(f"{len(plan)} runs, {len(plan) - len(missing)} of them finished")
    failures = []
    with tqdm.tqdm(total=len(missing), unit="run", disable=not missing) as bar:
        for done in _ended(missing, args):
            bar.update()
            if done.failure is None:
                bar.write(f"finished: {done.planned.name}")
            else:
                bar.write(f"failed: {done.planned.name}: {done.failure}", file=sys.stderr)
                failures.append(done)
    return failures


def _ended(missing: list["Planned"], args: argparse.Namespace) -> Iterator["Done"]:
    """The runs as they end, wherever they are trained; SIGTERM stops those of this machine."""
    from yolor_jax.ablation import training
    from yolor_jax.runs.preemption import preemption

    if not missing:
        return
    if args.ray:
        yield from training.train_on_cluster(missing, TRAIN, args.ray)
        return
    places = [{}] if args.at_once == 1 else training.devices()
    count = args.at_once or len(places)
    places = [places[number % len(places)] for number in range(count)]
    with preemption() as preempted:
        yield from training.train_all(missing, TRAIN, places, preempted)


def _show(result, workdir) -> None:
    """Prints the table, and writes it as JSON and as a page with AP over the epochs."""
    from yolor_jax.ablation import result as results
    from yolor_jax.reports.ablation import write_chart
    from yolor_jax.reports.page import write_report

    print(results.text(result))
    print(
        "AP in percent: mean ± standard error over seeds. difference: from "
        f"{result.baseline}, by pairs of one seed.\nseeds for {results.EFFECT}: that an "
        f"effect of {results.EFFECT} AP needs at this scatter (5 % two-sided, power 80 %)."
    )
    if result.missing:
        print(f"{result.missing} runs are missing.")
    made = [
        results.write(result, workdir),
        write_chart(result, workdir),
        write_report([workdir]).path,
    ]
    print("\n".join(f"  {path}" for path in made))
