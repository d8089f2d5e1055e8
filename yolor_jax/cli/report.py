"""Write one page on a run or an evaluation, or on several side by side.

    yolor report runs/quickstart
    yolor report runs/csp/evaluations/coco-val2017-step118000-640px
    yolor report runs/csp runs/csp-seed1 runs/p6 --output comparison.html

A page is one HTML file that opens from a disk without a network: numbers, curves, errors, images
with boxes, implicit knowledge, and who made it. Of several runs it shows the differences from the
first, and error bars where recipes differ by their seed alone.
"""

import argparse
import pathlib

from yolor_jax.cli.arguments import any_path
from yolor_jax.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor report``."""
    parser.add_argument(
        "folders",
        nargs="+",
        type=any_path,
        metavar="FOLDER",
        help="workdir of a run, or folder of an evaluation",
    )
    parser.add_argument(
        "--output",
        type=any_path,
        metavar="FILE",
        help="where to (report.html in the folder; of several comparison.html in this one)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor report``.

    Returns:
        0; 1 if something of a folder could not be read, and the page says what.

    Raises:
        InputError: a folder holds neither, or there is no folder for the page.
        OSError: something cannot be read or written.
    """
    from yolor_jax.cli.launch import quiet_libraries
    from yolor_jax.reports.page import write_report

    if args.output and isinstance(args.output, pathlib.Path) and not args.output.parent.is_dir():
        raise InputError(f"no folder {args.output.parent} to write to; create it first")
    quiet_libraries()
    written = write_report(args.folders, args.output)
    for doubt in written.doubts:
        print(doubt)
    print(f"{written.path} ({written.size / 1e6:.1f} MB): open it in a browser")
    return 1 if written.doubts else 0
