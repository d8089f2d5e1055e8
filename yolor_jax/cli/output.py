"""The file of weights that a command is asked to write, looked at before its work."""

import pathlib

from yolor_jax.errors import CommandError


def weights_file(output: str, *, overwrite: bool) -> pathlib.Path:
    """The path of OUTPUT.

    Raises:
        CommandError: it does not end in .safetensors, has no folder, or exists and is to stay.
    """
    path = pathlib.Path(output)
    if path.suffix != ".safetensors":
        raise CommandError(f"OUTPUT is {path}; expected a name that ends in .safetensors")
    if path.is_dir() or (path.exists() and not overwrite):
        raise CommandError(f"{path} exists; choose another name, or add --overwrite for a file")
    if not path.parent.is_dir():
        raise CommandError(f"no folder {path.parent} to write {path.name} to; create it first")
    return path
