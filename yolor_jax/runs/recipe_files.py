"""Recipes by name: those that come with the package, and Python files of one's own.

    recipe("quickstart", epochs=1.5)
    recipe("own", data={"path": "photos"})             # what it leaves to the data is decided
    recipe("my_recipe.py:large", optim={"learning_rate": 0.002})

A recipe is a Python file with a function ``get_config(ROW)`` that returns nested settings. Here
they are changed by values; on the command line by text (`cli.recipes`).
"""

import importlib
import pathlib
import runpy
from collections.abc import Mapping
from typing import Any

from yolor_jax.configs import base
from yolor_jax.errors import InputError
from yolor_jax.paths import local_path
from yolor_jax.progress import Say, silent
from yolor_jax.runs.draft import decide, read_draft
from yolor_jax.runs.recipe import Recipe, read
from yolor_jax.runs.typed_settings import changed

SHIPPED = "yolor_jax.configs"
BASE = "base"
"""The module that has all settings with their defaults, and is no recipe by itself."""


def recipe(
    name: str = "quickstart", *, say: Say = silent, progress: bool = False, **changes: Any
) -> Recipe:
    """A recipe by its name, with other settings; what it leaves to the data is decided.

    Args:
        name: of a shipped recipe, or a Python file; ``NAME:ROW`` if it has rows.
        say: takes a sentence for each program that ``batch_size="auto"`` compiles.
        progress: whether a preparation of the data shows bars.
        **changes: settings by name (`yolor train --help` lists all); those of a section in a
            dictionary, ``data={"path": "photos"}``.

    Raises:
        InputError: there is no such recipe, row or setting, a value is of no use, or the data are
            to decide and cannot be used.
    """
    settings = changed(Recipe, _settings(name), changes)
    return decide(read_draft(settings), say=say, progress=progress).recipe


def defaults() -> Recipe:
    """The settings of ``configs/base.py``, for what is evaluated without a run of its own."""
    return read(base.get_config().to_dict())


def recipe_file(config: str) -> pathlib.Path:
    """The file of ``RECIPE`` or ``RECIPE:ROW``.

    Raises:
        InputError: there is none, or it is no Python file; lists the shipped ones.
    """
    name = config.partition(":")[0]
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    path = local_path(name)
    if path.is_file() and path.suffix == ".py":
        return path
    raise InputError(
        f"no recipe {name!r}; expected one of {', '.join(shipped)}, or a Python file such as "
        "configs/quickstart.py (settings are written --config.NAME=VALUE)"
    )


def shipped_recipes() -> dict[str, pathlib.Path]:
    """The files of the recipes that come with the package, by name."""
    [folder] = importlib.import_module(SHIPPED).__path__
    files = sorted(pathlib.Path(folder).glob("*.py"))
    return {file.stem: file for file in files if file.stem not in (BASE, "__init__")}


def _settings(name: str) -> dict[str, Any]:
    """The nested settings of ``RECIPE`` or ``RECIPE:ROW``."""
    file, (_, colon, row) = recipe_file(name), name.partition(":")
    get_config = runpy.run_path(str(file)).get("get_config")
    if get_config is None:
        raise InputError(f"{file} is no recipe; expected a function get_config in it")
    try:
        config = get_config(row) if colon else get_config()
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:  # a row that there is not
        raise InputError(f"{name}: {error}; rows are chosen as RECIPE:ROW") from error
    return dict(config if isinstance(config, Mapping) else config.to_dict())
