"""What a command says when it cannot do what was asked for."""

import contextlib
from collections.abc import Iterator


class CommandError(Exception):
    """Wrong input by the user: one sentence for the terminal, no traceback, exit code 2."""


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turns the errors that libraries raise on wrong input into a `CommandError`.

    For the part of a command that opens what the user named: data, model, checkpoint.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise CommandError(str(error)) from error
