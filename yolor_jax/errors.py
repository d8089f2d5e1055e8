"""The one kind of error that whoever called can mend, and what to say of it."""

import contextlib
import errno
import os
from collections.abc import Iterator


class InputError(ValueError):
    """What was given cannot be used.

    Its text is one sentence for whoever gave it: what was got, what was expected, what to do.
    Any other ValueError is a mistake of ours, and keeps its traceback.
    """


MENDABLE = (InputError, OSError, ImportError)
"""Errors that a command shows as a sentence: wrong input, files, libraries that are not there."""


DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a disk says to a write, without saying of which file."""


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Gives an error of the disk in its body, such as a full one, the name of the file."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def sentence(error: BaseException) -> str:
    """What an error says; of one that the system raised, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
