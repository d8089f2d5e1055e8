"""The console script ``yolor``: one command, one module (`cli.commands`).

yolor detect photos/ --checkpoint runs/first
"""

import argparse
import io
import itertools
import os
import sys
from collections.abc import Sequence

from yolor_jax.cli import launch
from yolor_jax.cli.commands import add_commands
from yolor_jax.errors import MENDABLE, sentence

COMMANDS = {
    "train": "yolor_jax.cli.train",
    "eval": "yolor_jax.cli.evaluate",
    "detect": "yolor_jax.cli.detect",
    "demo": "yolor_jax.cli.demo",
    "convert": "yolor_jax.cli.convert",
    "weights": "yolor_jax.cli.weights",
    "publish": "yolor_jax.cli.publish",
    "fold": "yolor_jax.cli.fold",
    "ablate": "yolor_jax.cli.ablate",
    "export": "yolor_jax.cli.export",
    "implicit": "yolor_jax.cli.implicit",
    "recalibrate": "yolor_jax.cli.recalibrate",
    "summary": "yolor_jax.cli.summary",
    "report": "yolor_jax.cli.report",
    "watch": "yolor_jax.cli.watch",
    "prepare": "yolor_jax.cli.prepare",
    "doctor": "yolor_jax.cli.doctor",
    "bench": "yolor_jax.cli.bench",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments after the program's name; those of the process if left out.

    Returns:
        The exit code: 0 done; 1 done in part; 2 wrong input (a sentence on stderr says which); 130
        interrupted; 141 nobody reads any more what it prints.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = _parse(argv)
    launch.ready_the_cpu()
    try:
        code = args.run_command(args)
        sys.stdout.flush()  # a reader that has gone is found out here, and not at the exit
        return code
    except BrokenPipeError:
        # What is left in the buffer goes nowhere, or Python would complain of it at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MENDABLE as error:
        print(f"yolor {args.command}: {sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"yolor {args.command}: interrupted", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; settings of a recipe, where a command takes them, as ``settings``.

    ``words`` are all of them as they were typed.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    settings, rest = _without_settings(words)
    parser = _parser()
    args, unknown = parser.parse_known_args(rest)
    args.words, args.settings = words, [*settings, *unknown]
    if args.settings and not getattr(args, "takes_settings", False):
        parser.error(f"unrecognized arguments: {' '.join(args.settings)}")
    return args


def _without_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """``--config.NAME=VALUE`` and ``--config.NAME VALUE``, and the other words.

    argparse would take a value with a space in it, such as a Python dict, for a word of its own.
    """
    settings, rest, words = [], [], iter(argv)
    for word in words:
        if not word.startswith("--config."):
            rest.append(word)
        elif "=" in word:
            settings.append(word)
        else:
            settings += [word, *itertools.islice(words, 1)]
    return settings, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="yolor", description="YOLOR object detection in JAX. yolor COMMAND --help says more."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    add_commands(parser, COMMANDS, "command")
    return parser


class _Version(argparse.Action):
    """Looks the version up only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_) -> None:
        """Prints the version and ends the program."""
        import yolor_jax

        print(f"yolor {yolor_jax.__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
