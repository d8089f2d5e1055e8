"""A file that appears whole or not at all, whatever ends the program while it is written."""

import contextlib
import functools
import os
import pathlib
import tempfile
from collections.abc import Iterator

from yolor_jax import bucket
from yolor_jax.errors import writing
from yolor_jax.paths import Path, is_local, user_path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a local file to write to, which becomes ``path`` at the end.

    with whole_file("weights.safetensors") as temporary:
        safetensors.numpy.save_file(tensors, temporary)

    An error leaves what was there before. The file gets the mode of a new one, whoever wrote it.

    Args:
        path: of a file, local or in a bucket; its local folder must exist.

    Yields:
        Where to write, with the ending of ``path``; for a local path, a hidden file beside it.

    Raises:
        OSError: the file cannot be written; it names ``path``.
    """
    path = user_path(path)
    with _beside(pathlib.Path(path)) if is_local(path) else _to_bucket(path) as temporary:
        yield temporary


@contextlib.contextmanager
def _beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    # In the same folder, because a rename is one operation within a file system only; of the same
    # ending, because what writes pictures and arrays takes the format from it.
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        with writing(path):
            yield temporary
        if temporary.stat().st_mode != _mode():  # some writers make a file of mode 0600
            temporary.chmod(_mode())
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):  # which nobody has heard of
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _mode() -> int:
    """Of a new file."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "new")
        file.touch()
        return file.stat().st_mode


@contextlib.contextmanager
def _to_bucket(path: Path) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as folder:
        temporary = pathlib.Path(folder, path.name)
        yield temporary
        bucket.put(temporary, path)
