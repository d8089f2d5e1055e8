"""Nested settings as the dataclass that they are of: all there, none unknown, each of its type.

    recipe = typed(Recipe, {"image_size": 640, "data": {"path": "shapes", ...}, ...})

What each may be beyond its type says the dataclass itself, in `__post_init__`, by `require`. All
raise an `InputError` that begins with the name of the setting on the command line.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from yolor_jax.errors import InputError

Settings = typing.TypeVar("Settings")


def typed(kind: type[Settings], settings: Any, section: str = "") -> Settings:
    """A dataclass from nested settings; a list becomes a tuple where the dataclass has one.

    Args:
        kind: the dataclass; its fields are settings, or dataclasses of settings.
        settings: what was given, by name.
        section: where they stand in a larger whole, such as "data.".

    Raises:
        InputError: a setting is missing, unknown, of another type, or of no use; says which.
    """
    if not isinstance(settings, Mapping):
        require(section.rstrip("."), settings, False, "a section of settings")
    fields = typing.get_type_hints(kind)
    if missing := sorted(fields.keys() - settings.keys()):
        raise InputError(
            f"the setting {section}{missing[0]} is missing (yolor train --help lists all)"
        )
    if unknown := sorted(settings.keys() - fields.keys()):
        raise InputError(
            f"there is no setting {section}{unknown[0]} (yolor train --help lists all)"
        )
    values = {}
    for name, expected in fields.items():
        if dataclasses.is_dataclass(expected):
            values[name] = typed(expected, settings[name], f"{section}{name}.")
        else:
            values[name] = _value(f"{section}{name}", settings[name], expected)
    try:
        return kind(**values)
    except InputError as error:
        if not section or section in str(error):
            raise
        name = section.rstrip(".")
        raise InputError(f"{str(error).rstrip('.')} (a setting of --config.{name})") from error


def changed(kind: type, settings: Any, changes: Any) -> Any:
    """Nested settings of a dataclass with others in their place, section by section.

    What cannot be merged stays as it was given, for `typed` to say what is wrong with it.
    """
    if not (isinstance(settings, Mapping) and isinstance(changes, Mapping)):
        return changes
    fields = typing.get_type_hints(kind)
    merged = {**settings, **changes}
    for name in changes.keys() & settings.keys():
        if dataclasses.is_dataclass(expected := fields.get(name)):
            merged[name] = changed(expected, settings[name], changes[name])
    return merged


def _value(name: str, value: Any, expected: Any) -> Any:
    """A value of the expected type, a list as tuple; numbers are finite."""
    if isinstance(value, float):
        require(name, value, math.isfinite(value), "a finite number")
    if typing.get_origin(expected) is tuple:
        of = typing.get_args(expected)[0]
        words = f"a list of {_WORDS[of]}s"
        require(name, value, isinstance(value, list | tuple), words)
        for item in value:
            require(name, value, _is(item, of), words)
        return tuple(value)
    if expected is Any:
        return value
    require(name, value, _is(value, expected), _words(expected))
    return value


_WORDS = {bool: "True or False", int: "whole number", float: "number", str: "text"}


def _words(expected: Any) -> str:
    """What to say of an expected type."""
    known = [_WORDS[kind] for kind in _kinds(expected) if kind in _WORDS]
    return known[-1] if known == [_WORDS[bool]] else f"a {known[-1]}"


def _kinds(expected: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    is_union = isinstance(expected, types.UnionType) or typing.get_origin(expected) is typing.Union
    return typing.get_args(expected) if is_union else (expected,)


def _is(value: Any, expected: Any) -> bool:
    """Whether a plain value is of a type; a whole number is a number, and True is none."""
    kinds = _kinds(expected)
    if value is None:
        return type(None) in kinds
    if isinstance(value, bool):
        return bool in kinds
    return type(value) in kinds or (isinstance(value, int) and float in kinds)


def require(name: str, value: Any, holds: bool, expected: str) -> None:
    """Refuses a setting of which something does not hold; ``expected`` says what would."""
    if not holds:
        raise InputError(f"--config.{name} is {value!r}; expected {expected}")


def require_positive(section: str, settings: Any, *names: str) -> None:
    """Refuses any of these fields of a dataclass that is not finite and above 0."""
    for name in names:
        value = getattr(settings, name)
        require(f"{section}{name}", value, 0 < value < math.inf, "more than 0")


def require_not_negative(section: str, settings: Any, *names: str) -> None:
    """Refuses any of these fields of a dataclass that is not finite and 0 or above."""
    for name in names:
        value = getattr(settings, name)
        require(f"{section}{name}", value, 0 <= value < math.inf, "0 or more")
