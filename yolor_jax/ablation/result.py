"""What an ablation gave: each row's AP over seeds, and its difference from the baseline by pairs.

    result = measure(table, plan)
    result.rows[1].difference.mean, result.rows[1].difference.error
    print(text(result))

Runs of one seed share their start, order of data and augmentation, so that part of the scatter is
the same in both and leaves their difference d. With n pairs and the standard deviation s of d:

    standard error = s / sqrt(n)
    seeds for an effect of 0.3 AP = ((z(0.975) + z(0.8)) s / 0.3)^2 + z(0.975)^2 / 2

with z(0.975) = 1.96 and z(0.8) = 0.84. That many pairs find such an effect at the level of 5 % (by
a two-sided t-test) in 80 % of all attempts; the second term is what it costs that s is not known
(Guenther, 1981). An s of five seeds is itself known to a factor of about two: take the number for
its order of magnitude.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolor_jax.ablation.plan import Planned, standing
from yolor_jax.ablation.table import Table
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.table import text_table
from yolor_jax.training.metrics import read_json_lines
from yolor_jax.whole_file import whole_file

FILE = "ablation.json"
EFFECT = 0.3  # AP in points, that the paper's rows differ by
LEVEL, POWER = 0.05, 0.8
AP = "eval/AP"


class Estimate(NamedTuple):
    """A mean over seeds, in the unit of the values; here points of AP.

    Attributes:
        mean: of the seeds.
        error: its standard error; None of one seed.
        count: of seeds.
        deviation: standard deviation of a sample (n - 1); None likewise.
    """

    mean: float
    error: float | None
    count: int
    deviation: float | None


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name: of the row.
        by_seed: AP in percent of its finished runs.
        ap: their mean; None if none is finished.
        difference: from the baseline, of the seeds that both have; None of the baseline itself, and
            where no seed has both.
        seeds_needed: pairs that an effect of `EFFECT` would need; None of fewer than three pairs,
            whose scatter says nothing.
        course: epochs of the evaluations, and the mean AP in percent over the seeds at each.
        paper: AP in percent; None where nothing was published.
        paper_difference: from the paper's baseline, likewise.
    """

    name: str
    by_seed: Mapping[int, float]
    ap: Estimate | None
    difference: Estimate | None
    seeds_needed: int | None
    course: tuple[Sequence[float], Sequence[float]]
    paper: float | None
    paper_difference: float | None


class Result(NamedTuple):
    """What an ablation gave until now.

    Attributes:
        table: its name.
        recipe: what the rows change.
        baseline: the row that the others are compared with.
        missing: runs that are not finished.
        rows: in the order of the table.
    """

    table: str
    recipe: str
    baseline: str
    missing: int
    rows: Sequence[Row]


def measure(table: Table, plan: Sequence[Planned]) -> Result:
    """Reads what the finished runs of a plan gave.

    Raises:
        InputError: a folder holds a run of other settings, or one without an AP.
        OSError: something cannot be read.
    """
    finished = [planned for planned in plan if standing(planned) == "finished"]
    courses = {(one.row, one.seed): _course(one) for one in finished}
    finals = {
        name: {seed: [*course.values()][-1] for (row, seed), course in courses.items()
               if row == name}
        for name in table.rows
    }  # fmt: skip
    rows = [
        _row(
            table,
            name,
            finals[name],
            finals[table.baseline],
            [course for (row, _), course in courses.items() if row == name],
        )
        for name in table.rows
    ]
    return Result(table.name, table.recipe, table.baseline, len(plan) - len(finished), rows)


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and standard error; None of no values."""
    if not values:
        return None
    count = len(values)
    deviation = statistics.stdev(values) if count > 1 else None
    error = None if deviation is None else deviation / math.sqrt(count)
    return Estimate(statistics.fmean(values), error, count, deviation)


def seeds_needed(deviation: float) -> int:
    """Pairs that find `EFFECT` at `LEVEL` with `POWER`, three or more.

    Args:
        deviation: of the differences of pairs, in points of AP.
    """
    level, power = map(statistics.NormalDist().inv_cdf, (1 - LEVEL / 2, POWER))
    return max(3, math.ceil(((level + power) * deviation / EFFECT) ** 2 + level**2 / 2))


def text(result: Result) -> str:
    """The table for a terminal."""
    heading = ("row", "seeds", "AP", "difference", f"seeds for {EFFECT}", "paper", "difference")
    rows = [
        (
            row.name,
            str(len(row.by_seed)),
            _with_error(row.ap, ".2f"),
            _with_error(row.difference, "+.2f"),
            _number(row.seeds_needed, ",d"),
            _number(row.paper, ".1f"),
            _number(row.paper_difference, "+.1f"),
        )
        for row in result.rows
    ]
    return text_table([heading, *rows])


def write(result: Result, folder: Path) -> Path:
    """Writes the result as JSON into a folder; returns the file."""
    with whole_file(folder / FILE) as file:
        file.write_text(json.dumps(as_json(result), indent=2, allow_nan=False) + "\n")
    return folder / FILE


def as_json(result: Result) -> dict[str, Any]:
    """The result as JSON has it, with names for all numbers."""
    estimates = ("ap", "difference")
    rows = [
        row._asdict() | {name: value and value._asdict() for name, value in zip(
            estimates, (row.ap, row.difference), strict=True)}
        for row in result.rows
    ]  # fmt: skip
    return result._asdict() | {"rows": rows}


def from_json(written: Mapping[str, Any]) -> Result:
    """The result that `as_json` made this of."""
    rows = [
        Row(**row | {
            "by_seed": {int(seed): ap for seed, ap in row["by_seed"].items()},
            **{name: row[name] and Estimate(**row[name]) for name in ("ap", "difference")},
        })
        for row in written["rows"]
    ]  # fmt: skip
    return Result(**{**written, "rows": rows})


def _row(
    table: Table,
    name: str,
    by_seed: Mapping[int, float],
    baseline: Mapping[int, float],
    courses: Sequence[Mapping[float, float]],
) -> Row:
    pairs = [ap - baseline[seed] for seed, ap in by_seed.items() if seed in baseline]
    difference = None if name == table.baseline else estimate(pairs)
    enough = difference is not None and difference.count > 2
    paper, measure_ = table.paper.get(name), table.paper.get(table.baseline)
    compares = name != table.baseline and None not in (paper, measure_)
    return Row(
        name=name,
        by_seed=by_seed,
        ap=estimate([*by_seed.values()]),
        difference=difference,
        seeds_needed=seeds_needed(difference.deviation) if enough else None,
        course=_mean_course(courses),
        paper=paper,
        paper_difference=round(paper - measure_, 2) if compares else None,
    )


def _course(planned: Planned) -> dict[float, float]:
    """A run's AP in percent by the epoch of each evaluation; the last is that of its end."""
    metrics = read_json_lines(planned.workdir / "metrics.jsonl")
    rows = [row for row in metrics if row.get(AP) is not None]
    if not rows:
        raise InputError(
            f"{planned.workdir} has no AP: expected objects in the split to evaluate on, "
            f"{planned.recipe.data.eval_split}"
        )
    [first, *_] = [row for row in metrics if "epoch" in row]
    epochs_of_a_step = first["epoch"] / first["step"]
    return {epochs_of_a_step * row["step"]: 100 * row[AP] for row in rows}


def _mean_course(courses: Sequence[Mapping[float, float]]) -> tuple[list[float], list[float]]:
    """Epochs, and at each the mean over the seeds that were evaluated there (some stop early)."""
    epochs = sorted({epoch for course in courses for epoch in course})
    means = [statistics.fmean(course[epoch] for course in courses if epoch in course)
             for epoch in epochs]  # fmt: skip
    return epochs, means


def _with_error(value: Estimate | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value.mean:{form}}" + ("" if value.error is None else f" ± {value.error:.2f}")


def _number(value: float | int | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
