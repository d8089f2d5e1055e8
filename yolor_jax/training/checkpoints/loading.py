"""The variables of a checkpoint without its optimiser, for inference or a start from them.

    variables, meta = load_variables("runs/csp")  # the moving average

They come as NumPy arrays, and no model is built for it.
"""

import os

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import unflatten_dict
from jaxtyping import PyTree

from yolor_jax import bucket
from yolor_jax.training.checkpoints import folder as folders
from yolor_jax.training.checkpoints import statistics
from yolor_jax.training.checkpoints.folder import DamagedError
from yolor_jax.training.learnt import of_network

ANY = jax.ShapeDtypeStruct((), np.float32)
"""Orbax takes a leaf of any shape for it, where an array of NumPy is asked for."""


def find(directory: str | os.PathLike, step: int | str | None = None) -> tuple[epath.Path, int]:
    """The folder of checkpoints that a workdir has, or that is given itself, and a step in it.

    Args:
        directory: a workdir, or the folder ``checkpoints`` in it.
        step: a number, "best" or "latest"; the latest if None.

    Raises:
        FileNotFoundError: if there is no such checkpoint; says where it was looked for.
    """
    folder = folders.absolute(directory)
    with bucket.as_os_error(folder):
        folder = folder / folders.FOLDER if (folder / folders.FOLDER).is_dir() else folder
    return folder, folders.choose_step(folder, step)


def load_variables(
    directory: str | os.PathLike, step: int | str | None = None
) -> tuple[dict[str, PyTree], dict]:
    """The moving average of a checkpoint, as NumPy arrays, without building its model.

    Batch norm's statistics are the exact ones (`statistics`), where there are some.

    Args:
        directory: a workdir, or the folder ``checkpoints`` in it.
        step: which checkpoint, a number, "best" or "latest"; the latest if None.

    Returns:
        ``{'params': ..., 'batch_stats': ...}`` for ``module.apply``, and the run's ``meta`` with
        the ``step``.

    Raises:
        FileNotFoundError: if there is no such checkpoint; says where it was looked for.
        OSError: if the checkpoint is damaged; says which others there are. None takes its place.
    """
    return _load(directory, step, prefix="ema_")


def load_meta(directory: str | os.PathLike, step: int | str | None = None) -> dict:
    """The run's ``meta`` alone; its weights may be damaged. All else as `load_variables`."""
    folder, step = find(directory, step)
    return _meta(folder, step, statistics.read(folder, step))


def _meta(folder: epath.Path, step: int, exact: tuple[dict, int] | None) -> dict:
    """What the checkpoint says of itself, and what its place and the file beside it say."""
    meta = {**folders.read_json(folder, step, "config"), "step": step}
    return meta if exact is None else {**meta, statistics.EXACT_STATISTICS: exact[1]}


def load_trained(
    directory: str | os.PathLike, step: int | str | None = None
) -> tuple[dict[str, PyTree], dict]:
    """The variables that training goes on with; all else as `load_variables`."""
    return _load(directory, step, prefix="")


def _load(
    directory: str | os.PathLike, step: int | str | None, *, prefix: str
) -> tuple[dict[str, PyTree], dict]:
    folder, step = find(directory, step)
    try:
        variables = _variables(folder, step, prefix)
        exact = statistics.read(folder, step) if prefix else None
        meta = _meta(folder, step, exact)
    except DamagedError as error:
        others = [other for other in folders.steps(folder) if other != step]
        advice = "no other is here"
        if others:
            advice = f"choose another with --step N: there are {others}"
        raise OSError(f"{error}; {advice}.") from error
    if prefix:
        variables = of_network(variables)
    return variables if exact is None else {**variables, "batch_stats": exact[0]}, meta


def _variables(folder: epath.Path, step: int, prefix: str) -> dict[str, PyTree]:
    """Parameters and statistics under their names in the state, which begin with the prefix."""
    folders.require_whole(folder, step)
    names = {f"{prefix}params", f"{prefix}batch_stats"}
    paths = [path for path in folders.state_paths(folder, step) if path[0] in names]
    on_host = unflatten_dict({path: ocp.RestoreArgs(restore_type=np.ndarray) for path in paths})
    item = unflatten_dict(dict.fromkeys(paths, ANY))
    restored = folders.read(
        folder,
        step,
        "state",
        ocp.PyTreeCheckpointHandler(),
        ocp.args.PyTreeRestore(item=item, restore_args=on_host, partial_restore=True),
    )
    return {name: restored[f"{prefix}{name}"] for name in ("params", "batch_stats")}
