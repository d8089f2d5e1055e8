"""Arguments that several commands take: paths, which checkpoint of a run, and with which z.

```python
parser.add_argument("--output", type=local_path)
add_step_argument(parser)
add_knowledge_argument(parser)  # load(args.checkpoint, args.step, knowledge=args.knowledge)
```
"""

import argparse
import pathlib
from typing import TYPE_CHECKING

from yolor_jax import paths
from yolor_jax.errors import InputError
from yolor_jax.weights import hub

if TYPE_CHECKING:
    from yolor_jax.paths import Path


def any_path(text: str) -> "Path":
    """A path on a disk or in a bucket; see `paths.user_path`."""
    try:
        return paths.user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def network_path(text: str) -> "Path | str":
    """As `any_path`, or the address of weights on the hub (`weights.hub`), which stays a text."""
    if not hub.is_address(text):
        return any_path(text)
    try:
        hub.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def local_path(text: str) -> pathlib.Path:
    """A path on a disk; see `paths.local_path`."""
    try:
        return paths.local_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_step_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares ``--step``, as `yolor_jax.load` takes it."""
    parser.add_argument(
        "--step",
        type=_step,
        metavar="N",
        help="checkpoint of the run: its step, best (by the run's eval.best_by) or latest (latest)",
    )


def add_knowledge_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares ``--knowledge``, as `yolor_jax.load` takes it."""
    parser.add_argument(
        "--knowledge",
        metavar="NAME",
        help="implicit knowledge of a domain that lies beside the checkpoint (its own)",
    )


def _step(text: str) -> int | str:
    if text in ("best", "latest"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text}, expected a step, best or latest")
    return int(text)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected a whole number from 1 on")
    return int(text)
