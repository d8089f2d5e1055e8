"""The one kind of error that whoever called can mend, and what to say of it."""


class InputError(ValueError):
    """What was given cannot be used.

    Its text is one sentence for whoever gave it: what was got, what was expected, what to do.
    Any other ValueError is a mistake of ours, and keeps its traceback.
    """


MENDABLE = (InputError, OSError, ImportError)
"""Errors that a command shows as a sentence: wrong input, files, libraries that are not there."""


def sentence(error: BaseException) -> str:
    """What an error says; of one that the system raised, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
