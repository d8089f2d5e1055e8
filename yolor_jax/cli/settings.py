"""The settings of a recipe for ``--help``: name, default and meaning of each.

They are read from the recipe's own dataclasses and from ``configs/base.py``, so that this text
cannot say anything else than they do.
"""

import dataclasses
import inspect
import re
import textwrap
import typing
from typing import Any

WIDTH = 96
ATTRIBUTE = re.compile(r"^(\w+): (.*)$")


def format_settings() -> str:
    """A paragraph for each setting: ``--config.NAME=DEFAULT`` and what it means."""
    from yolor_jax.configs import base
    from yolor_jax.runs.recipe import Recipe

    lines = []
    for name, default, meaning in _settings(Recipe, base.get_config().to_dict(), ""):
        lines.append(f"  --config.{name}={default!r}")
        lines += textwrap.wrap(
            meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines)


def _settings(kind: type, defaults: dict[str, Any], section: str) -> list[tuple[str, Any, str]]:
    """Name, default and meaning of each field of a dataclass, at any depth."""
    meanings = attributes(kind)
    rows = []
    for name, expected in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(expected):
            rows += _settings(expected, defaults[name], f"{section}{name}.")
        else:
            rows.append((f"{section}{name}", defaults[name], meanings[name]))
    return rows


def attributes(kind: type) -> dict[str, str]:
    """What the section ``Attributes:`` of a class's docstring says of each attribute."""
    section = inspect.getdoc(kind).partition("\nAttributes:\n")[2].partition("\n\n")[0]
    meanings: dict[str, str] = {}
    for line in textwrap.dedent(section).splitlines():
        if match := ATTRIBUTE.match(line):
            name, meanings[match[1]] = match[1], match[2]
        else:
            meanings[name] += f" {line.strip()}"
    return meanings
