"""What both main files do around their work: flags, processes, compilation cache, errors."""

import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from yolor_jax.errors import CommandError

if TYPE_CHECKING:
    from yolor_jax.training.processes.group import ProcessGroup

CACHE = pathlib.Path("~/.cache/yolor_jax/compiled")


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses flags as absl does; whatever is no flag or setting of the recipe ends the program."""
    try:
        rest = values(list(argv))
    except flags.Error as error:
        said = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
        if "get_config() takes 0 positional arguments" in said:
            said = "this recipe has no rows or models to choose; leave out the colon and all behind"
        refuse(said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A KeyError within a KeyError: quoted twice.
        said = str(error).replace("\\n", ". ").replace("\\", "").replace("'", "").strip('"')
        refuse(f"no such setting or value: {said} (see configs/base.py)")
    if len(rest) > 1:
        refuse(f"got {' '.join(rest[1:])}; expected only flags, --NAME=VALUE")
    return rest


def refuse(sentence: str) -> NoReturn:
    """Ends the program as wrong input ends it: with a sentence and exit code 2."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def parse_recipe_flags(argv: Sequence[str], *, default: pathlib.Path) -> list[str]:
    """`parse_flags`, with the recipe ``default`` where none is given."""
    for position, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            try:
                recipe_file(value if equals else "".join(argv[position + 1 : position + 2]))
            except CommandError as error:
                refuse(str(error))
            return parse_flags(argv)
    return parse_flags([argv[0], f"--config={default}", *argv[1:]])


def recipe_file(config: str) -> pathlib.Path:
    """The file of ``FILE`` or ``FILE:ROW``.

    Raises:
        CommandError: there is none, or it is no Python file.
    """
    path = pathlib.Path(config.partition(":")[0])
    if not path.is_file() or path.suffix != ".py":
        raise CommandError(f"no recipe {path}; expected a file such as configs/coco640.py")
    return path


def command(work: Callable[["ProcessGroup"], object], settings: Mapping[str, Any]) -> int:
    """Runs a command with the persistent compilation cache, in one process or as one of several.

    Args:
        work: the command, of the processes of its run.
        settings: what it was asked for; must be the same in all processes of a run.

    Returns:
        The exit code: 0 done; 2 wrong input, a sentence on stderr says which; 130 interrupted. One
        of several processes that fails while the others go on ends at once instead of returning.
    """
    from yolor_jax.runs import preflight
    from yolor_jax.training.processes.group import ALONE

    use_compilation_cache()
    quiet_libraries()
    group = ALONE
    try:
        group = preflight.meet(settings)
        preflight.connect(group)
        work(group)
        return 0
    except CommandError as error:
        code, message = 2, f"error: {error}"
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
    except Exception:
        if group is ALONE:
            raise
        code, message = 1, traceback.format_exc()
    print(message, file=sys.stderr, flush=True)
    if not group.part(message.removeprefix("error: ")):
        os._exit(code)  # JAX would wait for the others, who wait for this one's part of a step
    return code


def quiet_libraries() -> None:
    """Leaves out what JAX and Orbax tell of backends and files; our own warnings still show."""
    logging.getLogger("jax").setLevel(logging.WARNING)
    for name in ("absl", "asyncio"):  # our own messages say what failed in a checkpoint
        logging.getLogger(name).setLevel(logging.CRITICAL)
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
