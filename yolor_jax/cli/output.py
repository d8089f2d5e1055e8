"""The files that a command is asked to write, looked at before its work, which may take long.

path = weights_file(args.output, overwrite=args.overwrite)
save = figures_writer(args.json)
save({"images_per_second": 43.0})
"""

import argparse
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from yolor_jax.cli.arguments import local_path
from yolor_jax.errors import InputError
from yolor_jax.whole_file import whole_file


def weights_file(path: pathlib.Path, *, overwrite: bool) -> pathlib.Path:
    """The path of OUTPUT.

    Raises:
        InputError: it does not end in .safetensors, has no folder, or exists and is to stay.
    """
    if path.suffix != ".safetensors":
        raise InputError(f"OUTPUT is {path}; expected a name that ends in .safetensors")
    if path.is_dir() or (path.exists() and not overwrite):
        raise InputError(f"{path} exists; choose another name, or add --overwrite for a file")
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} to write {path.name} to; create it first")
    return path


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declares ``--json FILE``: the figures of a command for other programs, beside its table."""
    parser.add_argument(
        "--json", type=local_path, metavar="FILE", help="write the figures there too"
    )


def figures_writer(path: pathlib.Path | None) -> Callable[[Mapping[str, Any]], None]:
    """A function that writes figures to a file as JSON, or nowhere if None.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return lambda figures: None
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"--json {path} cannot be written; expected a file in a folder that is there"
        )

    def write(figures: Mapping[str, Any]) -> None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(figures, indent=1) + "\n")

    return write
