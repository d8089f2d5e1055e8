"""Checkpoints: the train state, what run it belongs to, and how far its data has been read.

    with Checkpoints(workdir, meta) as checkpoints:
        if checkpoints.latest_step is not None:
            state, position = checkpoints.restore(abstract_state(...))
        checkpoints.save(1000, state, position=16000, metrics={"AP": 0.41})

    variables, meta = load_variables(workdir)  # the moving average, for inference

``meta`` is a JSON dictionary that identifies the run and tells inference what it must know (model,
num_classes, class_names, image_size). A folder holds the latest two checkpoints and the one of the
best AP; each appears whole or not at all. Writing goes on in the background.
"""

import json
import os
from types import TracebackType
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from yolor_jax import trees
from yolor_jax.training.state import TrainState

FOLDER = "checkpoints"
KEEP_LATEST = 2
BEST = "AP"


class Checkpoints:
    """The checkpoints of one run in ``workdir/checkpoints``.

    A context manager: leaving it, for whatever reason, finishes the write that is under way.
    """

    def __init__(self, workdir: str | os.PathLike, meta: dict[str, Any]):
        """Open the folder, and create it if need be.

        Args:
            workdir: the run's folder.
            meta: identifies the run; must survive JSON.

        Raises:
            ValueError: if the folder holds checkpoints of another run; says what differs.
        """
        self._directory = _absolute(workdir) / FOLDER
        self._meta = json.loads(json.dumps(meta))
        steps = _steps(self._directory)
        if steps:
            require_same(
                _read_json(self._directory, steps[-1], "config"),
                self._meta,
                f"{workdir} holds a run of another configuration",
                "Choose another workdir, or delete this one to start anew.",
            )
        # Orbax writes metrics, without which no best checkpoint survives a restart, only if
        # `best_fn` is set, although it is the policy that decides.
        best = checkpoint_managers.BestN(get_metric_fn=_score, n=1)
        latest = checkpoint_managers.LatestN(KEEP_LATEST)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
            best_fn=_score,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    @property
    def latest_step(self) -> int | None:
        """The step of the latest whole checkpoint; None if there is none."""
        return self._manager.latest_step()

    def save(
        self,
        step: int,
        state: TrainState,
        *,
        position: int,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Save in the background; the state may be donated as soon as this returns.

        Args:
            step: micro-steps done; larger than that of every checkpoint there is.
            state: the train state.
            position: examples of the training data consumed so far.
            metrics: of an evaluation of this very state; with ``AP``, which decides what is best.

        Raises:
            ValueError: if there is a checkpoint of this step or a later one.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(flax.serialization.to_state_dict(state)),
            config=ocp.args.JsonSave(self._meta),
            data=ocp.args.JsonSave({"position": position}),
        )
        if not self._manager.save(step, args=items, metrics=metrics or {}):
            raise ValueError(
                f"step {step} was not saved in {self._directory}: the latest checkpoint there is "
                f"of step {self.latest_step}. Restore it before training on."
            )

    def restore(self, expected: TrainState, step: int | None = None) -> tuple[TrainState, int]:
        """Read a checkpoint back, onto any number of devices.

        Args:
            expected: shapes, dtypes and shardings (see ``abstract_state``).
            step: which one; the latest if None.

        Returns:
            The state, and the number of training examples consumed before it was saved.

        Raises:
            ValueError: if a leaf is missing, unused, or of another shape or dtype; lists all.
            OSError: if the checkpoint's files are damaged.
        """
        step = _choose_step(self._directory, step)
        wanted = flax.serialization.to_state_dict(expected)
        _require_tree(_state_metadata(self._directory, step), wanted, self._directory / str(step))
        restored = _read(
            self._directory,
            step,
            "state",
            ocp.StandardCheckpointHandler(),
            ocp.args.StandardRestore(wanted),
        )
        position = _read_json(self._directory, step, "data")["position"]
        return flax.serialization.from_state_dict(expected, restored), position

    def wait(self) -> None:
        """Return when everything that was saved is on disk."""
        self._manager.wait_until_finished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.close()


def load_variables(
    directory: str | os.PathLike, step: int | None = None
) -> tuple[dict[str, PyTree], dict]:
    """The moving average of a checkpoint, as NumPy arrays, without building its model.

    Args:
        directory: a workdir, or the folder ``checkpoints`` in it.
        step: which checkpoint; the latest if None.

    Returns:
        ``{'params': ..., 'batch_stats': ...}`` for ``module.apply``, and the run's ``meta``.

    Raises:
        FileNotFoundError: if there is no such checkpoint; says where it was looked for.
        OSError: if the checkpoint's files are damaged.
    """
    folder = _absolute(directory)
    folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    step = _choose_step(folder, step)
    saved = _state_metadata(folder, step)
    item = {
        name: jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved[name])
        for name in ("ema_params", "ema_batch_stats")
    }
    on_host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    restored = _read(
        folder,
        step,
        "state",
        ocp.PyTreeCheckpointHandler(),
        ocp.args.PyTreeRestore(item=item, restore_args=on_host, partial_restore=True),
    )
    variables = {"params": restored["ema_params"], "batch_stats": restored["ema_batch_stats"]}
    return variables, _read_json(folder, step, "config")


def require_same(found: dict, expected: dict, what: str, advice: str) -> None:
    """Raise a ValueError unless two JSON dictionaries are equal.

    Args:
        found: what a checkpoint says.
        expected: what it should say.
        what: begins the message, for example "<folder> holds another model".
        advice: ends it.

    Raises:
        ValueError: with one clause for each entry that differs.
    """
    there, here = _entries(found), _entries(json.loads(json.dumps(expected)))
    clauses = [
        f"{name} is {there.get(name, 'absent')!r} there and {here.get(name, 'absent')!r} here"
        for name in sorted(there.keys() | here.keys())
        if name not in there or name not in here or there[name] != here[name]
    ]
    if clauses:
        raise ValueError(f"{what}: {'; '.join(clauses)}. {advice}")


def _score(metrics: dict[str, float]) -> float:
    """What the best checkpoint has most of; one that was not evaluated has least."""
    return metrics.get(BEST, float("-inf"))


def _entries(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Entries of nested dictionaries by path; a list is one entry."""
    entries = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        entries |= _entries(value, f"{prefix}{name}/") if inner else {f"{prefix}{name}": value}
    return entries


def _absolute(directory: str | os.PathLike) -> epath.Path:
    return epath.Path(directory).expanduser().resolve()


def _steps(folder: epath.Path) -> list[int]:
    """The steps of all whole checkpoints, ascending."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def _choose_step(folder: epath.Path, step: int | None) -> int:
    """The step itself if there is such a checkpoint, the latest if None."""
    steps = _steps(folder)
    if not steps:
        raise FileNotFoundError(
            f"no checkpoint in {folder}: expected the workdir of a training run that has saved "
            "one, or the folder checkpoints in it."
        )
    if step is not None and step not in steps:
        raise FileNotFoundError(f"no checkpoint of step {step} in {folder}: there are {steps}.")
    return steps[-1] if step is None else step


def _require_tree(saved: PyTree, wanted: PyTree, folder: epath.Path) -> None:
    sentences = trees.differences(saved, wanted)
    if sentences:
        lines = "\n  ".join(sentences)
        raise ValueError(
            f"the checkpoint {folder} does not fit this model and optimiser, "
            f"{len(sentences)} of its leaves differ; nothing was restored:\n  {lines}"
        )


def _state_metadata(folder: epath.Path, step: int) -> PyTree:
    """Shapes and dtypes of a saved state, as nested dictionaries."""
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            return checkpointer.metadata(folder / str(step) / "state").item_metadata.tree
        except Exception as error:
            raise _damaged(folder, step, error) from error


def _read(folder: epath.Path, step: int, item: str, handler: Any, args: Any) -> Any:
    """One item of a checkpoint."""
    with ocp.Checkpointer(handler) as checkpointer:
        try:
            return checkpointer.restore(folder / str(step) / item, args=args)
        except Exception as error:
            raise _damaged(folder, step, error) from error


def _read_json(folder: epath.Path, step: int, item: str) -> dict[str, Any]:
    return _read(folder, step, item, ocp.JsonCheckpointHandler(), ocp.args.JsonRestore())


def _damaged(folder: epath.Path, step: int, error: Exception) -> OSError:
    """What to say of a checkpoint that was finished once and cannot be read now."""
    older = [s for s in _steps(folder) if s < step]
    rest = f"the run then goes on from step {older[-1]}" if older else "the run then starts anew"
    return OSError(
        f"the checkpoint {folder / str(step)} cannot be read ({type(error).__name__}: {error}). "
        f"If its files are damaged, delete that folder: {rest}."
    )
