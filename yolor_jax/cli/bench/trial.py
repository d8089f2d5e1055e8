"""What the benches that compare runtimes share: a model of random weights, in turn, on some cores.

```python
add_arguments(parser)
compare(args, measure, by="PyTorch's best", rows=rows)
```
"""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from yolor_jax.cli.arguments import positive
from yolor_jax.cli.output import add_json_argument, figures_writer
from yolor_jax.table import text_table

if TYPE_CHECKING:
    from yolor_jax.bench.model import Trial

Figures = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what is timed, how often, and where the figures go."""
    parser.add_argument("--model", default="yolor_nano", help="of the zoo (%(default)s)")
    numbers = (
        ("--image-size", 128, "pixels"),
        ("--batch-size", 8, "images"),
        ("--classes", 80, "classes"),
        ("--rounds", 10, "timed rounds"),
        ("--threads", 1, "and cores"),
    )
    for name, default, what in numbers:
        parser.add_argument(
            name, type=positive, metavar="N", default=default, help=f"{what} (%(default)s)"
        )
    add_json_argument(parser)


def compare(
    args: argparse.Namespace,
    measure: Callable[["Trial", int], Figures],
    *,
    by: str,
    rows: Callable[[Figures, "Trial"], Sequence[tuple[str, ...]]],
) -> int:
    """Measures on the cores that are asked for, prints the table, writes the figures; returns 0.

    Args:
        args: of `add_arguments`.
        measure: gives the figures of a trial and a number of rounds.
        by: by whose time ours is divided, in words.
        rows: of the table, the heading first.

    Raises:
        InputError: there is no such model, or there are not so many cores.
        ImportError: a library that is measured is not installed.
        ArithmeticError: two do not compute the same.
    """
    from yolor_jax.bench.in_turn import take_cores
    from yolor_jax.bench.model import Trial

    save = figures_writer(args.json)
    take_cores(args.threads)
    trial = Trial(args.model, args.image_size, args.batch_size, args.classes)
    figures = measure(trial, args.rounds)
    print(
        f"{trial.model}, {trial.image_size} pixels, batches of {trial.batch_size}, {args.threads} "
        f"threads; medians of {args.rounds} rounds, and our time by that of {by}"
    )
    print(text_table(rows(figures, trial)))
    save(
        {"settings": trial._asdict() | {"rounds": args.rounds, "threads": args.threads}, **figures}
    )
    return 0
