"""The one kind of error that whoever called can mend, and what a command makes of it."""

import contextlib
from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """What was given cannot be used.

    Its text is one sentence for whoever gave it: what was got, what was expected, what to do.
    Any other ValueError is a mistake of ours, and keeps its traceback.
    """


class CommandError(InputError):
    """Wrong input by the user: one sentence for the terminal, no traceback, exit code 2."""


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns the errors that libraries raise on wrong input into a `CommandError`.

    For the part of a command that opens what the user named: data, model, checkpoint.
    """
    try:
        yield
    except (InputError, OSError, ImportError) as error:
        raise CommandError(_sentence(error)) from error


@contextlib.contextmanager
def run_errors() -> Iterator[None]:
    """Turns what ends a run that has begun into a `CommandError`.

    For a loss that is not finite, a full disk, a folder that vanished; any other error is ours.
    """
    try:
        yield
    except (FloatingPointError, OSError) as error:
        raise CommandError(_sentence(error)) from error


def user_errors_in(items: Iterable) -> Iterator:
    """The items; an error while one is made, such as a truncated image, is a `CommandError`."""
    iterator = iter(items)
    while True:
        with user_errors():
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def _sentence(error: Exception) -> str:
    """What an error says; of one that the system raised, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
