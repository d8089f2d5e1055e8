"""Names of splits: which one is trained on, which one evaluated on, and the flags that say so.

Tools call them ``train``, ``Train``, ``training``; ``val``, ``valid``, ``validation``; ``test``.

    flags(["test", "train", "valid"])
    # ["--config.data.train_split=train", "--config.data.eval_split=valid"]
"""

import re
from collections.abc import Sequence

from yolor_jax.errors import InputError

_DEFAULTS = {"train_split": "train2017", "eval_split": "val2017"}  # of configs/base.py


def for_training(splits: Sequence[str]) -> str | None:
    """The first split whose name begins with ``train``, or else is that of no other use."""
    return _first(splits, "train") or next(
        (split for split in splits if not split.lower().startswith(("val", "test"))), None
    )


def for_evaluation(splits: Sequence[str]) -> str:
    """The first split whose name begins with ``val``, or else ``test``, or else the last that is
    not for training; that for training if there is no other.
    """
    others = [split for split in splits if split != for_training(splits)]
    return _first(splits, "val") or _first(splits, "test") or (others or splits)[-1]


def flags(splits: Sequence[str]) -> list[str]:
    """The flags of ``yolor train`` for these splits; none where its defaults are meant."""
    chosen = {
        "train_split": for_training(splits) or splits[0],
        "eval_split": for_evaluation(splits),
    }
    return [f"--config.data.{key}={name}" for key, name in chosen.items() if name != _DEFAULTS[key]]


def require_name(split: str) -> None:
    """Raises an InputError if a split's name cannot be part of the names of files and flags."""
    if not re.fullmatch(r"\w[\w-]*", split):
        raise InputError(
            f"got the split {split!r}; expected letters, digits, underscores and hyphens"
        )


def no_such_split(where: object, split: str, splits: Sequence[str]) -> InputError:
    """The error that a data set lacks a split.

    Args:
        where: the data set.
        split: that was asked for.
        splits: that there are, at least one.
    """
    return InputError(
        f"{where} has no split {split!r}; it has {list(splits)}: give "
        f"{' '.join(flags(splits)) or 'one of them'} (other commands: --split NAME)"
    )


def _first(splits: Sequence[str], beginning: str) -> str | None:
    return next((split for split in splits if split.lower().startswith(beginning)), None)
