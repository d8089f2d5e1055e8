"""A folder of checkpoints as it lies on disk: which steps there are, and what is in each.

    for step in reversed(steps(folder)):
        saved = state_metadata(folder, step)  # shapes and dtypes
        meta = read_json(folder, step, "config")

Whatever cannot be read is a `DamagedError` that names step, folder and reason.
"""

import json
import os
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree

from yolor_jax.training.checkpoints import seal

FOLDER = "checkpoints"
SCORES = "scores.json"


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
    """The whole path, as Orbax wants it."""
    return epath.Path(directory).expanduser().resolve()


def steps(folder: epath.Path) -> list[int]:
    """The steps of all finished checkpoints, ascending."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def choose_step(folder: epath.Path, step: int | None) -> int:
    """The step itself if there is such a checkpoint, the latest if None.

    Raises:
        FileNotFoundError: there is none.
    """
    found = steps(folder)
    if not found:
        raise FileNotFoundError(
            f"no checkpoint in {folder}: expected the workdir of a training run that has saved "
            "one, or the folder checkpoints in it."
        )
    if step is not None and step not in found:
        raise FileNotFoundError(f"no checkpoint of step {step} in {folder}: there are {found}.")
    return found[-1] if step is None else step


def require_whole(folder: epath.Path, step: int) -> None:
    """Raise a `DamagedError` if a file of a checkpoint is not as it was written."""
    if reason := seal.damage(folder / str(step)):
        raise DamagedError(folder, step, reason)


def state_metadata(folder: epath.Path, step: int) -> PyTree:
    """Shapes and dtypes of a saved state, as nested dictionaries.

    Raises:
        DamagedError: it cannot be read.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            return checkpointer.metadata(folder / str(step) / "state").item_metadata.tree
        except Exception as error:
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
        except Exception as error:
            raise _unreadable(folder, step, error) from error


def read_json(folder: epath.Path, step: int, item: str) -> dict[str, Any]:
    """An item of a checkpoint that is a JSON dictionary; raises as `read`."""
    return read(folder, step, item, ocp.JsonCheckpointHandler(), ocp.args.JsonRestore())


def write_scores(folder: epath.Path, step: int, scores: dict[str, float]) -> None:
    """Note what an evaluation of a finished checkpoint gave; the file appears whole."""
    # Not `whole_file`: the folder may lie in a bucket, which only etils' paths reach.
    part = folder / str(step) / f"{SCORES}.part"
    part.write_text(json.dumps(scores))
    part.rename(folder / str(step) / SCORES)


def read_scores(folder: epath.Path, step: int) -> dict[str, float] | None:
    """What the evaluation of a checkpoint gave; None if there is no file that says so."""
    try:
        return json.loads((folder / str(step) / SCORES).read_text())
    except (FileNotFoundError, ValueError):  # a damaged file: the evaluation can be done again
        return None


def set_aside(folder: epath.Path, step: int) -> epath.Path:
    """Rename a damaged checkpoint, so that none takes it for one any more; returns its new path."""
    aside = folder / f"{step}.damaged"
    number = 1
    while aside.exists():
        number += 1
        aside = folder / f"{step}.damaged-{number}"
    (folder / str(step)).rename(aside)
    return aside


def _unreadable(folder: epath.Path, step: int, error: Exception) -> DamagedError:
    return DamagedError(folder, step, f"it cannot be read ({type(error).__name__}: {error})")
