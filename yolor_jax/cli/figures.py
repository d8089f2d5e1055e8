"""``--json FILE``: the figures of a command for other programs, beside its table.

save = figures_writer(args.json)     # a file that cannot be written is refused before the work
save({"images_per_second": 43.0})
"""

import argparse
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from yolor_jax.errors import CommandError, user_errors


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declares ``--json``."""
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")


def figures_writer(file: str | None) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes figures to a file as JSON, or nowhere if None.

    Raises:
        CommandError: the file cannot be written; at once, for the figures may take long.
    """
    if file is None:
        return lambda figures: None
    path = pathlib.Path(file)
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(
            f"--json {file} cannot be written; expected a file in a folder that is there"
        )

    def write(figures: Mapping[str, Any]) -> None:
        with user_errors():
            path.write_text(json.dumps(figures, indent=1) + "\n")

    return write
