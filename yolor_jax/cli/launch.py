"""What both main files do around their work: compilation cache, and errors as one sentence."""

import os
import pathlib
import sys
from collections.abc import Callable

import jax

from yolor_jax.cli.errors import CommandError

CACHE = pathlib.Path("~/.cache/yolor_jax/compiled")


def command(work: Callable[[], object]) -> int:
    """Runs a command with the persistent compilation cache.

    Args:
        work: the command.

    Returns:
        The exit code: 0 done; 2 wrong input, a sentence on stderr says which; 130 interrupted.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))
    try:
        work()
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    return 0
