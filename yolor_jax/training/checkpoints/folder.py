"""A folder of checkpoints as it lies there: which steps there are, what is in each, which stay.

    for step in reversed(steps(folder)):
        saved = state_metadata(folder, step)  # shapes and dtypes
        meta = read_json(folder, step, "config")

Each checkpoint has a seal, a file with size and checksum of its other files, written with them and
compared before any of it is used: on disk CRC-32, in a bucket the MD5 that the store has computed,
so that nothing is read twice. Whatever cannot be read, or is not as it was written, is a
`DamagedError` that names step, folder and reason.
"""

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.paths import is_local, user_path
from yolor_jax.whole_file import whole_file

FOLDER = "checkpoints"
SCORES = "scores.json"
SEAL = "seal.json"
CHUNK = 1 << 20
"""Bytes read at once for a checksum."""
KEPT = 2
"""Latest checkpoints that stay, whatever their score."""
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What Orbax, TensorStore and JSON raise of files that are not as they were written. A device or a
host that runs out of memory raises others, and its checkpoint is not damaged."""
TREE = "_METADATA"
"""Orbax's file of the structure of a state."""
BEST, LATEST = "best", "latest"
"""What may stand for the step of a checkpoint."""
BEST_BY = "best_by"
"""Entry of the scores: the number by which a checkpoint is the best; `SCORE` where it lacks."""
SCORE = "AP"
Scores = dict[str, Any]
"""What an evaluation gave, numbers by name, and `BEST_BY`."""


class DamagedError(OSError):
    """A checkpoint that was finished once cannot be read now.

    Attributes:
        step: of the checkpoint.
        reason: what is wrong with it.
    """

    def __init__(self, folder: epath.Path, step: int, reason: str):
        super().__init__(f"the checkpoint {folder / str(step)} is damaged: {reason}")
        self.step = step
        self.reason = reason


def absolute(directory: str | os.PathLike) -> epath.Path:
    """The whole path, as Orbax wants it.

    Raises:
        InputError: it is neither local nor in a bucket that can be used.
    """
    path = user_path(directory)
    if is_local(path):
        return epath.Path(path).resolve()
    if not re.fullmatch(r"gs://[\w/.~+:=@,-]+", str(path), re.ASCII):
        raise InputError(
            f"got {path}; expected letters, digits and /._-~+:=@, in the path of a run in a "
            "bucket: Orbax and TensorStore write others under different names"
        )
    return epath.Path(path)


def steps(folder: epath.Path) -> list[int]:
    """The steps of all finished checkpoints, ascending.

    Raises:
        OSError: a bucket cannot be read.
    """
    if is_local(folder) and not folder.is_dir():
        return []
    with bucket.as_os_error(folder):
        return sorted(ocp.utils.checkpoint_steps(folder))


def choose_step(folder: epath.Path, step: int | str | None) -> int:
    """The step of a checkpoint that is there.

    Args:
        folder: of the checkpoints.
        step: a number, ``"best"`` by its score, or ``"latest"`` (also if None).

    Raises:
        FileNotFoundError: there is none.
    """
    found = steps(folder)
    if not found:
        raise FileNotFoundError(
            f"no checkpoint in {folder}: expected the workdir of a training run that has saved "
            "one, or the folder checkpoints in it."
        )
    if step is None or step == LATEST:
        return found[-1]
    if step == BEST:
        best = best_step(found, {one: read_scores(folder, one) for one in found})
        if best is None:
            raise FileNotFoundError(
                f"no checkpoint in {folder} was evaluated by eval.best_by, and none is the best: "
                f"there are {found}."
            )
        return best
    if step not in found:
        raise FileNotFoundError(f"no checkpoint of step {step} in {folder}: there are {found}.")
    return step


def require_whole(folder: epath.Path, step: int) -> None:
    """Raise a `DamagedError` if a file of a checkpoint is not as it was written."""
    if reason := _damage(folder / str(step)):
        raise DamagedError(folder, step, reason)


def write_seal(folder: epath.Path) -> None:
    """Seal all files of the items of a checkpoint.

    Args:
        folder: holds one folder for each item. Files beside these, which Orbax adds to until the
            end, are left out.
    """
    if is_local(folder):
        sums = {path.relative_to(folder).as_posix(): _sum(path) for path in _item_files(folder)}
    else:
        sums = {name: one for name, one in bucket.objects(folder).items() if "/" in name}
    with bucket.as_os_error(folder):
        (folder / SEAL).write_text(json.dumps(sums))


def state_metadata(folder: epath.Path, step: int) -> PyTree:
    """Shapes and dtypes of a saved state, as nested dictionaries.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        # Of the handler: a checkpointer looks for a file beside it first, and warns that it lacks.
        return ocp.PyTreeCheckpointHandler().metadata(folder / str(step) / "state").tree
    except UNREADABLE as error:
        raise _unreadable(folder, step, error) from error


def state_paths(folder: epath.Path, step: int) -> list[tuple[str, ...]]:
    """Where the leaves of a saved state are: names from the top, such as ("ema_params", "neck").

    `state_metadata` knows these too, but opens each array for it.

    Raises:
        DamagedError: it cannot be read.
    """
    try:
        with bucket.as_os_error(folder):
            text = (folder / str(step) / "state" / TREE).read_text()
        tree = json.loads(text)["tree_metadata"]
        return [tuple(key["key"] for key in leaf["key_metadata"]) for leaf in tree.values()]
    except UNREADABLE as error:
        raise _unreadable(folder, step, error) from error


def read(folder: epath.Path, step: int, item: str, handler: Any, args: Any) -> Any:
    """One item of a checkpoint.

    Args:
        folder: of the checkpoints.
        step: of the checkpoint.
        item: its name: "state", "config" or "data".
        handler: Orbax's, of that kind of item.
        args: what the handler takes to restore it.

    Raises:
        DamagedError: it cannot be read.
    """
    with ocp.Checkpointer(handler) as checkpointer:
        try:
            return checkpointer.restore(folder / str(step) / item, args=args)
        except UNREADABLE as error:
            raise _unreadable(folder, step, error) from error


def read_json(folder: epath.Path, step: int, item: str) -> dict[str, Any]:
    """An item of a checkpoint that is a JSON dictionary; raises as `read`."""
    return read(folder, step, item, ocp.JsonCheckpointHandler(), ocp.args.JsonRestore())


def write_scores(folder: epath.Path, step: int, scores: Scores) -> None:
    """Note what an evaluation of a finished checkpoint gave; the file appears whole."""
    with whole_file(folder / str(step) / SCORES) as file:
        file.write_text(json.dumps(scores))


def read_scores(folder: epath.Path, step: int) -> Scores | None:
    """What the evaluation of a checkpoint gave; None if there is no file that says so.

    Raises:
        OSError: a bucket cannot be read.
    """
    try:
        with bucket.as_os_error(folder):
            scores = json.loads((folder / str(step) / SCORES).read_text())
        return scores if isinstance(scores, dict) else None
    except (FileNotFoundError, ValueError):  # a damaged file: the evaluation can be done again
        return None


def set_aside(folder: epath.Path, step: int) -> epath.Path:
    """Rename a damaged checkpoint, so that none takes it for one any more; returns its new path.

    In a bucket each of its objects is copied, within the store, and deleted.
    """
    aside = folder / f"{step}.damaged"
    number = 1
    while aside.exists():
        number += 1
        aside = folder / f"{step}.damaged-{number}"
    with bucket.as_os_error(folder):
        (folder / str(step)).rename(aside)
    return aside


class KeepLatestAndBest(checkpoint_managers.PreservationPolicy):
    """Orbax's preservation policy, with scores that may arrive after the save."""

    def __init__(self, scores: dict[int, Scores | None]):
        self._scores = scores

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """Which of the checkpoints, in their order, stay."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = kept_steps(steps, self._scores)
        return [step in kept for step in steps]


def kept_steps(steps: Sequence[int], scores: dict[int, Scores | None]) -> set[int]:
    """The steps of the latest two checkpoints, and of the best of those that were evaluated.

    kept_steps([100, 200, 300, 400], {100: {"AP": 0.4}, 200: {"AP": 0.3}}) is {100, 300, 400}; of
    equally good ones it is the latest.
    """
    return {*sorted(steps)[-KEPT:]} | ({best_step(steps, scores)} - {None})


def best_step(steps: Sequence[int], scores: dict[int, Scores | None]) -> int | None:
    """The best of those that were evaluated, of equally good ones the latest; None without any.

    By what, the last evaluation says: a run that goes on may ask for another number.
    """
    evaluated = [step for step in sorted(steps) if scores.get(step)]
    if not evaluated:
        return None
    by = scores[evaluated[-1]].get(BEST_BY, SCORE)
    measured = [step for step in evaluated if by in scores[step]]
    return max(measured, key=lambda step: (scores[step][by], step), default=None)


def _damage(folder: epath.Path) -> str | None:
    """What is wrong with the files of a checkpoint; None if nothing is, or it has no seal."""
    try:
        with bucket.as_os_error(folder):
            sums = json.loads((folder / SEAL).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return f"{SEAL} is no JSON"
    stored = None if is_local(folder) else bucket.objects(folder)
    for name, (size, checksum) in sums.items():
        found = _found(folder / name, checksum) if stored is None else stored.get(name)
        if found is None:
            return f"{name} is missing"
        if found[0] != size:
            return f"{name} has {found[0]:,} of {size:,} bytes"
        # The store knows no CRC-32, with which a run was sealed that comes from a disk, and of
        # some objects no MD5: their size is all that can be compared without reading them.
        if type(found[1]) is type(checksum) and found[1] != checksum:
            return f"{name} has other bytes than were written"
    return None


def _item_files(folder: epath.Path) -> Iterator[epath.Path]:
    """All files in the folders of a folder, at any depth."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from (child for child in sorted(path.iterdir()) if not child.is_dir())
            yield from _item_files(path)


def _sum(path: epath.Path) -> list[int]:
    """Size in bytes and CRC-32 of a file."""
    size = checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]


def _found(path: epath.Path, checksum: int | str | None) -> Sequence[Any] | None:
    """Size and checksum of a local file, of the kind that its seal has; None if there is none."""
    if not path.exists():
        return None
    return _sum(path) if isinstance(checksum, int) else bucket.as_object(path)


def _unreadable(folder: epath.Path, step: int, error: Exception) -> OSError:
    if not is_local(folder):  # whose bytes the store has vouched for, by the seal
        return OSError(
            f"the checkpoint {folder / str(step)} cannot be read: {bucket.reason(error)}"
        )
    return DamagedError(folder, step, f"it cannot be read ({type(error).__name__}: {error})")
