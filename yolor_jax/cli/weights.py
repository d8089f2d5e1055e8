"""List the networks that the authors of the paper published: numbers, licence, how to convert.

Nothing is downloaded: fetch a file from the authors' page, then type what stands below the table.

    yolor weights
    yolor weights yolor_p6
"""

import argparse

from yolor_jax.errors import InputError
from yolor_jax.table import text_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor weights``."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a name of the zoo: the commands for this one"
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor weights`` and returns 0.

    Raises:
        InputError: nothing was published of such a model.
    """
    from yolor_jax.weights.published import HOME, LICENCE, PUBLISHED

    models = list(dict.fromkeys(one.model for one in PUBLISHED))
    if args.model not in (None, *models):
        raise InputError(f"got {args.model}; expected one of {', '.join(models)}")
    shown = [one for one in PUBLISHED if args.model in (None, one.model)]
    heading = ("network", "model here", "pixels", "AP", "AP50", "AP test-dev")
    rows = [
        (one.name, one.model, str(one.image_size), *map(_percent, (one.ap, one.ap50, one.test_ap)))
        for one in shown
    ]
    print(text_table([heading, *rows], left=(0, 1)))
    print(
        f"\nAP on COCO by the paper; - where it gives none. Licence of the files: {LICENCE}.\n"
        f"The authors link them from {HOME}.\n`yolor convert` sees of which model a file is. "
        "Convert, certify\n(docs/weights.md says how to make reference.npz), measure:"
    )
    file = shown[0].file if args.model else "WEIGHTS.safetensors"
    print(f"  yolor convert FILE.pt {file} --verify reference.npz")
    print(f"  yolor eval --checkpoint {file} --data COCO")
    return 0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
