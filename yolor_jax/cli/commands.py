"""Commands of the console script as modules.

A module has ``add_arguments(parser)`` and ``run(args) -> exit code``; the first line of its
docstring is the command's help, the whole its description, and ``more_help()``, where it has that,
what stands below the arguments. It imports nothing heavy at its top, so that ``yolor --help``
answers at once.
"""

import argparse
import importlib
from collections.abc import Callable, Mapping


class CommandParser(argparse.ArgumentParser):
    """A parser whose help may end in a text that takes a while to make."""

    more_help: Callable[[], str] | None = None

    def format_help(self) -> str:
        """The help, with all that belongs to it."""
        if self.more_help is not None:
            self.epilog = self.more_help()
        return super().format_help()


def add_commands(parser: argparse.ArgumentParser, modules: Mapping[str, str], dest: str) -> None:
    """Adds one command for each module.

    Args:
        parser: of the program, or of a command that has commands of its own.
        modules: name of the module of each command, by the command's name.
        dest: where the parsed arguments say which command was asked for; its function is under
            ``run_<dest>``.
    """
    commands = parser.add_subparsers(
        dest=dest, metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, module_name in modules.items():
        module = importlib.import_module(module_name)
        first, _, rest = module.__doc__.partition("\n")
        command = commands.add_parser(
            name,
            help=first.rstrip("."),
            description=first + rest,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # "--config.data.path" would otherwise be taken for an abbreviation where it is unique.
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.more_help = getattr(module, "more_help", None)
        command.set_defaults(**{f"run_{dest}": module.run})
