"""What both main files do around their work: flags, compilation cache, errors as one sentence."""

import logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import flags

from yolor_jax.cli.errors import CommandError

CACHE = pathlib.Path("~/.cache/yolor_jax/compiled")


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses flags as absl does; an unknown flag or setting of the recipe ends with a sentence."""
    try:
        return values(list(argv))
    except flags.Error as error:
        print(f"error: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        sys.exit(2)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A KeyError within a KeyError: quoted twice.
        said = str(error).replace("\\n", ". ").replace("\\", "").replace("'", "").strip('"')
        print(f"error: no such setting or value: {said} (see configs/base.py)", file=sys.stderr)
        sys.exit(2)


def parse_recipe_flags(argv: Sequence[str], *, default: pathlib.Path) -> list[str]:
    """`parse_flags`, with the recipe ``default`` where none is given."""
    given = any(argument.split("=")[0] in ("--config", "-config") for argument in argv)
    return parse_flags(argv if given else [argv[0], f"--config={default}", *argv[1:]])


def command(work: Callable[[], object]) -> int:
    """Runs a command with the persistent compilation cache.

    Args:
        work: the command.

    Returns:
        The exit code: 0 done; 2 wrong input, a sentence on stderr says which; 130 interrupted.
    """
    use_compilation_cache()
    quiet_libraries()
    try:
        work()
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def quiet_libraries() -> None:
    """Leaves out what JAX and Orbax tell of backends and files; our own warnings still show."""
    logging.getLogger("jax").setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # our messages say what failed
    sys.unraisablehook = _without_closed_loops


def _without_closed_loops(unraisable) -> None:
    """Leaves out what TensorStore's threads tell Orbax after it has raised their first error."""
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def use_compilation_cache() -> None:
    """Keeps compiled programs on disk; where, the environment may say."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))
