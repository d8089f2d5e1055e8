"""What a command says when it cannot do what was asked for."""


class CommandError(Exception):
    """Wrong input by the user: one sentence for the terminal, no traceback, exit code 2."""
