"""Watch a run that goes on elsewhere: how far it is, its curves, the time that is left.

    yolor watch runs/csp
    yolor watch gs://bucket/runs/csp --every 60
    yolor watch runs/csp --once

Reads what the run writes into its folder and changes nothing. Ends when the run has ended.
"""

import argparse
import datetime
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolor_jax.cli.arguments import any_path
from yolor_jax.errors import InputError
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.runs.watching import Standing

CURVES = ("loss/total", "loss/box", "eval/AP", "eval/AP50", "images_per_second")
NUMBERS = {
    "learning_rate": "{:.2e}",
    "images_per_second": "{:,.1f}",
    "step_seconds": "{:.3f} s",
    "step_seconds_p95": "{:.3f} s",
    "data_wait_share": "{:.1%}",
    "mfu": "{:.1%}",
    "goodput": "{:.1%}",
}
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 48  # characters of a curve
CLEAR = "\x1b[2J\x1b[H"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor watch``."""
    parser.add_argument("workdir", type=any_path, metavar="RUN", help="folder of a training run")
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="SECONDS", help="look again (%(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="look once, and end")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor watch`` and returns 0.

    Raises:
        InputError: the seconds are none, or files of the run are damaged.
        OSError: there is no run, or it cannot be read.
    """
    if not args.every > 0:
        raise InputError(f"--every is {args.every}; expected seconds above 0")
    from yolor_jax.runs.watching import look

    while True:
        standing = look(args.workdir)
        page = format_standing(str(args.workdir), standing, datetime.datetime.now(datetime.UTC))
        print(f"{CLEAR if sys.stdout.isatty() else ''}{page}", flush=True)
        if args.once or standing.finished:
            return 0
        time.sleep(args.every)


def format_standing(name: str, standing: "Standing", now: datetime.datetime) -> str:
    """What is seen of a run.

    Args:
        name: of the run.
        standing: of it.
        now: with its time zone.
    """
    if not standing.rows:
        return f"{name}: no row of metrics yet"
    last = standing.rows[-1]
    left = standing.seconds_left
    ago = _duration((now - standing.written).total_seconds())
    if standing.finished:
        when = "finished"
    else:
        when = "time left unknown" if left is None else f"about {_duration(left)} left"
    head = (
        f"{name}: {standing.recipe.model.name}, step {last['step']:,}, {standing.share:.0%}, "
        f"{when}; last row {ago} ago"
    )
    curves = [("", "first", "", "last")]
    for metric in CURVES:
        if values := standing.series(metric):
            curves.append((metric, f"{values[0]:.4g}", sparkline(values), f"{values[-1]:.4g}"))
    numbers = [
        f"{metric} {form.format(standing.series(metric)[-1])}"
        for metric, form in NUMBERS.items()
        if standing.series(metric)
    ]
    return "\n".join([head, text_table(curves, left=(0, 2)), ", ".join(numbers)])


def sparkline(values: Sequence[float]) -> str:
    """A curve in one line of text: means of `WIDTH` parts, from the least to the largest."""
    finite = [value for value in values if math.isfinite(value)]
    count = min(WIDTH, len(finite))
    parts = [
        finite[i * len(finite) // count : (i + 1) * len(finite) // count] for i in range(count)
    ]
    means = [sum(part) / len(part) for part in parts]
    if not means:
        return ""
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def _duration(seconds: float) -> str:
    """For people, such as ``2 h 05 min``, ``3 min`` or ``12 s``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if seconds >= 60 else f"{round(seconds)} s"
