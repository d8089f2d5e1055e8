"""The files that a command is asked to write, looked at before its work, which may take long.

They may be on a disk or in a bucket.

    path = weights_file(args.output, overwrite=args.overwrite)
    save = figures_writer(args.json)
    save({"images_per_second": 43.0})
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from yolor_jax import bucket
from yolor_jax.cli.arguments import any_path
from yolor_jax.errors import InputError
from yolor_jax.paths import is_local
from yolor_jax.whole_file import whole_file

if TYPE_CHECKING:
    from yolor_jax.paths import Path


def weights_file(
    path: "Path", *, overwrite: bool, suffix: str = ".safetensors", folder: bool = False
) -> "Path":
    """The path of OUTPUT.

    Args:
        path: as it was asked for.
        overwrite: whether one of its kind may be there.
        suffix: its ending.
        folder: whether it becomes a folder rather than a file.

    Raises:
        InputError: it does not end in ``suffix``, has no folder, or exists and is to stay.
        OSError: the bucket cannot be written to.
    """
    if path.suffix != suffix:
        raise InputError(f"OUTPUT is {path}; expected a name that ends in {suffix}")
    with bucket.as_os_error(path):
        exists, is_folder = path.exists(), path.is_dir()
    if exists and (is_folder != folder or not overwrite):
        kind = "folder of this kind" if folder else "file"
        raise InputError(f"{path} exists; choose another name, or add --overwrite for a {kind}")
    if not is_local(path):
        bucket.require_writable(path.parent)
    elif not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} to write {path.name} to; create it first")
    return path


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declares ``--json FILE``: the figures of a command for other programs, beside its table."""
    parser.add_argument("--json", type=any_path, metavar="FILE", help="write the figures there too")


def figures_writer(path: "Path | None") -> Callable[[Mapping[str, Any]], None]:
    """A function that writes figures to a file as JSON, or nowhere if None.

    Raises:
        InputError: the file cannot be written.
        OSError: the bucket cannot be written to.
    """
    if path is None:
        return lambda figures: None
    if not is_local(path):
        bucket.require_writable(path.parent)
    elif not _is_place_for_a_file(path):
        raise InputError(
            f"--json {path} cannot be written; expected a file in a folder that is there"
        )

    def write(figures: Mapping[str, Any]) -> None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(figures, indent=1) + "\n")

    return write


def _is_place_for_a_file(path: "Path") -> bool:
    folder = path.absolute().parent
    return not path.is_dir() and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
