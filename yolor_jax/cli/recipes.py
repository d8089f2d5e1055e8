"""Recipes on the command line: by the name of a shipped one or by file, and with other settings.

    yolor train coco640:yolor_csp --config.batch_size=128
    yolor train configs/coco640.py:yolor_csp
    yolor train my_recipe.py

A recipe is a Python file with a function ``get_config(ROW)``. argparse leaves
``--config.NAME=VALUE`` alone (`main` passes them on as ``args.settings``); absl and ml_collections
read them, each as the type of its default.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolor_jax.errors import InputError
from yolor_jax.progress import to_stderr

if TYPE_CHECKING:
    from yolor_jax.runs.draft import Draft
    from yolor_jax.runs.recipe import Recipe

BATCH = "--config.batch_size"


def add_recipe_option(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declares ``--config``, and lets ``--config.NAME=VALUE`` follow."""
    parser.add_argument(
        "--config",
        metavar="RECIPE[:ROW]",
        required=required,
        help="the recipe: the name of a shipped one, such as coco640:yolor_csp, or a file; its "
        "settings are changed as in training, --config.NAME=VALUE",
    )
    parser.set_defaults(takes_settings=True)


def read_recipe(config: str, settings: Sequence[str]) -> "Recipe":
    """The recipe of ``RECIPE[:ROW]`` with other settings; what it leaves to the data is decided.

    Args:
        config: a name or a file, and a row if the recipe has rows.
        settings: ``--config.NAME=VALUE`` each.

    Raises:
        InputError: there is no such recipe, row or setting, a value is of no use, or the data are
            to decide and cannot be used.
    """
    from yolor_jax.runs.draft import decide

    return decide(read_draft(config, settings), say=to_stderr, progress=True).recipe


def read_draft(config: str, settings: Sequence[str]) -> "Draft":
    """The same as it is before the data are opened.

    Raises:
        InputError: there is no such recipe, row or setting, or a value is of no use.
    """
    from absl import flags
    from ml_collections import config_flags

    from yolor_jax.runs import draft
    from yolor_jax.runs.recipe import AUTO
    from yolor_jax.runs.recipe_files import recipe_file

    _, colon, row = config.partition(":")
    auto_batch, settings = _without_auto_batch(settings)
    argv = ["yolor", f"--config={recipe_file(config)}{colon}{row}", *settings]
    values = flags.FlagValues()
    given = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    _parse(argv, values)
    asked = given.value.to_dict()
    return draft.read_draft({**asked, draft.BATCH: AUTO} if auto_batch else asked)


def _without_auto_batch(settings: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether the last batch size is auto, which absl cannot read; and the other settings."""
    from yolor_jax.runs.recipe import AUTO

    words, auto_batch, rest = iter(settings), False, []
    for word in words:
        name, equals, value = word.partition("=")
        if name != BATCH:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        auto_batch = value == AUTO
        if not auto_batch:
            rest.append(f"{BATCH}={value}")
    return auto_batch, rest


def _parse(argv: Sequence[str], values) -> None:
    """Parses as absl does; whatever is no setting of the recipe is an InputError."""
    from absl import flags

    try:
        rest = values(list(argv))
    except flags.Error as error:
        said = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
        if "get_config() takes 0 positional arguments" in said:
            said = "this recipe has no rows or models to choose; leave out the colon and all behind"
        raise InputError(said) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A KeyError within a KeyError: quoted twice.
        said = str(error).replace("\\n", ". ").replace("\\", "").replace("'", "").strip('"')
        raise InputError(
            f"no such setting or value: {said} (yolor train --help lists all)"
        ) from error
    if len(rest) > 1:
        raise InputError(f"got {' '.join(rest[1:])}; expected only settings, --config.NAME=VALUE")
