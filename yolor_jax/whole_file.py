"""A file that appears whole or not at all, whatever ends the program while it is written."""

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

    Args:
        path: of a local file; its folder must exist.

    Yields:
        A hidden file with the ending of ``path``.

    Raises:
        OSError: the file cannot be written; it names ``path``.
    """
    path = pathlib.Path(path)
    # In the same folder, because a rename is one operation within a file system only; of the same
    # ending, because what writes pictures and arrays takes the format from it.
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # some writers put a file of mode 0600 in its place
        yield temporary
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):  # which nobody has heard of
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
