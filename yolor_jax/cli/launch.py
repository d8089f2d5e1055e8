"""What both main files do around their work: flags, compilation cache, errors as one sentence."""

import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, logging

from yolor_jax.cli.errors import CommandError

CACHE = pathlib.Path("~/.cache/yolor_jax/compiled")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses flags as absl does; an unknown setting of the recipe ends with one sentence."""
    try:
        return app.parse_flags_with_usage(list(argv))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        said = error.args[0] if error.args else error
        print(f"error: the recipe has no such setting or value: {said}", file=sys.stderr)
        sys.exit(2)


def command(work: Callable[[], object]) -> int:
    """Runs a command with the persistent compilation cache.

    Args:
        work: the command.

    Returns:
        The exit code: 0 done; 2 wrong input, a sentence on stderr says which; 130 interrupted.
    """
    use_compilation_cache()
    logging.set_verbosity(logging.ERROR)  # Orbax warns about files that it does not need
    try:
        work()
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def use_compilation_cache() -> None:
    """Keeps compiled programs on disk; where, the environment may say."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))
