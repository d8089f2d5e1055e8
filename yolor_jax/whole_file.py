"""A file that appears whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a file in the same folder to write to, which becomes ``path`` at the end.

    with whole_file("weights.safetensors") as temporary:
        safetensors.numpy.save_file(tensors, temporary)

    An error leaves what was there before. The file gets the mode of a new one, whoever wrote it.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
