"""Commands of the console script as modules.

A module has ``add_arguments(parser)`` and ``run(args) -> exit code``; the first line of its
docstring is the command's help, the whole its description. It imports nothing heavy at its top, so
that ``yolor --help`` answers at once.
"""

import argparse
import importlib
from collections.abc import Mapping


def add_commands(parser: argparse.ArgumentParser, modules: Mapping[str, str], dest: str) -> None:
    """Adds one command for each module.

    Args:
        parser: of the program, or of a command that has commands of its own.
        modules: name of the module of each command, by the command's name.
        dest: where the parsed arguments say which command was asked for; its function is under
            ``run_<dest>``.
    """
    commands = parser.add_subparsers(dest=dest, metavar="COMMAND", required=True)
    for name, module_name in modules.items():
        module = importlib.import_module(module_name)
        first, _, rest = module.__doc__.partition("\n")
        command = commands.add_parser(
            name,
            help=first.rstrip("."),
            description=first + rest,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(**{f"run_{dest}": module.run})
