"""Checkpoints: the train state, what run it belongs to, and how far its data has been read.

    with Checkpoints(workdir, meta) as checkpoints:
        if checkpoints.latest_step is not None:
            state, position, damaged = checkpoints.restore_latest(abstract_state(...))
        checkpoints.save(1000, state, position=16000)
        checkpoints.score(1000, {"AP": 0.41})  # when it has been evaluated

``meta`` is a JSON dictionary that identifies the run and tells inference what it must know (model,
num_classes, class_names, image_size); ``stamps`` beside it say who has worked on the run so far,
and identify nothing. A folder holds the latest two checkpoints and the best one; each
appears whole or not at all. Writing goes on in the background; where it fails, the next call says
so.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from jaxtyping import PyTree

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.paths import is_local
from yolor_jax.stamp import STAMPS, Stamp
from yolor_jax.training.checkpoints import folder as folders
from yolor_jax.training.checkpoints import statistics
from yolor_jax.training.checkpoints.fitting import require_same, require_same_leaves
from yolor_jax.training.checkpoints.folder import DamagedError
from yolor_jax.training.state import TrainState

SLICE = 1 << 20
"""Bytes from which on each replica of an array writes a slice of it; of smaller ones one writes
all, because to slice them on the device takes longer than to write them."""


class Checkpoints:
    """The checkpoints of one run in ``workdir/checkpoints``.

    A context manager: leaving it, for whatever reason, finishes the write that is under way.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        meta: dict[str, Any],
        stamps: Sequence[Stamp] = (),
        *,
        best_by: str = folders.SCORE,
    ):
        """Open the folder, and create it if need be.

        Args:
            workdir: the run's folder.
            meta: identifies the run; must survive JSON.
            stamps: of the starts of the run, this one too; kept in each checkpoint.
            best_by: the number whose highest makes a checkpoint the best, from the next score on.

        Raises:
            InputError: if the folder holds checkpoints of another run; says what differs.
            OSError: if it cannot be created.
        """
        self._directory = folders.absolute(workdir) / folders.FOLDER
        for path in (self._directory.parent, self._directory):
            with bucket.as_os_error(path):
                is_file = path.exists() and not path.is_dir()
            if is_file:
                raise NotADirectoryError(f"{path} is a file: expected a folder, or none")
        self._meta = json.loads(json.dumps(meta))
        self._stamps = list(stamps)
        self._best_by = best_by
        self._require_same_run(workdir)
        steps = folders.steps(self._directory)
        self._scores = {step: folders.read_scores(self._directory, step) for step in steps}
        self._writing = None
        options = ocp.CheckpointManagerOptions(
            preservation_policy=folders.KeepLatestAndBest(self._scores),
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        with bucket.as_os_error(self._directory):
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=options,
                item_handlers={
                    "state": _state_handler(),
                    "config": ocp.JsonCheckpointHandler(),
                    "data": ocp.JsonCheckpointHandler(),
                },
            )

    @property
    def latest_step(self) -> int | None:
        """The step of the latest checkpoint; None if there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The step of the best checkpoint; None if none was evaluated."""
        return folders.best_step(self._manager.all_steps(), self._scores)

    def save(self, step: int, state: TrainState, *, position: int) -> None:
        """Save in the background; the state may be donated as soon as this returns.

        Args:
            step: micro-steps done; larger than that of every checkpoint there is.
            state: the train state.
            position: examples of the training data consumed so far.

        Raises:
            InputError: if there is a checkpoint of this step or a later one.
            OSError: if this one, or the one before, could not be written.
        """
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(flax.serialization.to_state_dict(state)),
            config=ocp.args.JsonSave(self._meta | {STAMPS: self._stamps}),
            data=ocp.args.JsonSave({"position": position}),
        )
        self.wait()
        if is_local(self._directory) and not self._directory.is_dir():
            raise OSError(
                f"the folder {self._directory} has vanished, and what was in it: bring it back and "
                "run the same command again."
            )
        later = [saved for saved in self._manager.all_steps() if saved >= step]
        if later:
            raise InputError(
                f"step {step} was not saved in {self._directory}: the latest checkpoint there is "
                f"of step {later[-1]}. Restore it before training on."
            )
        self._writing = step
        self._scores[step] = None
        with self._as_os_error():
            _require_writable(self._directory)
            self._manager.save(step, args=items)

    def score(self, step: int, scores: dict[str, float]) -> None:
        """Note what the evaluation of a checkpoint gave; what need not be kept now is deleted.

        Args:
            step: of a checkpoint.
            scores: numbers by name; that of ``best_by`` may be missing.

        Raises:
            OSError: if the checkpoint or the scores could not be written.
        """
        self.wait()
        scores = {**scores, folders.BEST_BY: self._best_by}
        with self._as_os_error():
            if jax.process_index() == 0:
                folders.write_scores(self._directory, step, scores)
            self._scores[step] = scores
            steps = self._manager.all_steps()
            for old in set(steps) - folders.kept_steps(steps, self._scores):
                self._manager.delete(old)

    def write_statistics(self, step: int, batch_stats: PyTree, *, images: int) -> None:
        """Note exact statistics of batch norm for a checkpoint; see `statistics`.

        Raises:
            OSError: if the checkpoint or the statistics could not be written.
        """
        self.wait()
        if jax.process_index() == 0:
            with self._as_os_error():
                statistics.write(self._directory, step, batch_stats, images=images)

    def is_scored(self, step: int) -> bool:
        """Whether a checkpoint has been evaluated to the end."""
        return self._scores.get(step) is not None

    def restore(self, expected: TrainState, step: int | None = None) -> tuple[TrainState, int]:
        """Read a checkpoint back, onto any number of devices.

        Args:
            expected: shapes, dtypes and shardings (see ``abstract_state``).
            step: which one; the latest if None.

        Returns:
            The state, and the number of training examples consumed before it was saved.

        Raises:
            InputError: if a leaf is missing, unused, or of another shape or dtype; lists all.
            DamagedError: if a file is not as it was written.
        """
        step = folders.choose_step(self._directory, step)
        folders.require_whole(self._directory, step)
        wanted = flax.serialization.to_state_dict(expected)
        saved = folders.state_metadata(self._directory, step)
        require_same_leaves(saved, wanted, self._directory / str(step))
        restored = folders.read(
            self._directory,
            step,
            "state",
            ocp.StandardCheckpointHandler(),
            ocp.args.StandardRestore(wanted),
        )
        position = folders.read_json(self._directory, step, "data")["position"]
        return flax.serialization.from_state_dict(expected, restored), position

    def restore_latest(self, expected: TrainState) -> tuple[TrainState, int, list[str]]:
        """Read the latest checkpoint that is whole, and set damaged ones after it aside.

        Args:
            expected: shapes, dtypes and shardings (see ``abstract_state``).

        Returns:
            The state, the number of training examples consumed before it was saved, and a sentence
            for each checkpoint that was damaged and has another name now.

        Raises:
            InputError: if a leaf is missing, unused, or of another shape or dtype; lists all.
            OSError: if there is no checkpoint, or all are damaged. Nothing is renamed then.
        """
        damaged = []
        for step in reversed(folders.steps(self._directory)):
            try:
                state, position = self.restore(expected, step)
            except DamagedError as error:
                damaged.append(error)
            else:
                return state, position, self._set_aside(damaged, step)
        folders.choose_step(self._directory, None)
        raise OSError(
            f"all checkpoints in {self._directory} are damaged: "
            + "; ".join(f"of step {error.step}, {error.reason}" for error in damaged)
            + ". Bring one back, or choose another workdir to start anew."
        )

    def wait(self) -> None:
        """Return when everything that was saved is on disk.

        Raises:
            OSError: if it could not be written.
        """
        with self._as_os_error():
            self._manager.wait_until_finished()

    def check(self) -> None:
        """Return at once, whether a write is under way or not.

        Raises:
            OSError: if one has failed.
        """
        if not self._manager.is_saving_in_progress():
            self.wait()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._as_os_error():
                self._manager.close()
        except OSError:
            if not isinstance(error, Exception):  # an error that is on its way has said its part
                raise

    @contextlib.contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Turns a failed write into an OSError that names the last intact checkpoint."""
        try:
            yield
        except Exception as error:
            if not _is_failed_write(error):
                raise
            whole = [step for step in self._manager.all_steps() if step != self._writing]
            left = f"The one of step {whole[-1]} is intact" if whole else "There is none before it"
            raise OSError(
                f"the checkpoint of step {self._writing} could not be written to "
                f"{self._directory}: {_reason(error)}. {left}. Make sure that the folder can be "
                "written to and has room, and run the same command again."
            ) from error

    def _seal(self) -> None:
        """Seals the checkpoint that has been written, before it gets its final name."""
        name = str(self._writing)
        for path in self._directory.iterdir():
            if path.name == name or path.name.startswith(f"{name}.orbax"):
                folders.write_seal(path)

    def _set_aside(self, damaged: Sequence[DamagedError], whole: int) -> list[str]:
        """Renames damaged checkpoints; a sentence for each."""
        sentences = []
        for error in damaged:
            if jax.process_index() == 0:
                aside = folders.set_aside(self._directory, error.step)
                sentences.append(f"{error}; renamed to {aside.name}, going on from step {whole}")
        if damaged:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")
            self._manager.reload()
        return sentences

    def _require_same_run(self, workdir: str | os.PathLike) -> None:
        """Raises an InputError if the latest checkpoint that says so is of another run."""
        for step in reversed(folders.steps(self._directory)):
            try:
                folders.require_whole(self._directory, step)
                found = folders.read_json(self._directory, step, "config")
            except DamagedError:  # the state is not read from here either
                continue
            found.pop(STAMPS, None)
            require_same(
                found,
                self._meta,
                f"{workdir} holds a run of another configuration",
                "Choose another workdir, or delete this one to start anew.",
            )
            return


def _state_handler() -> ocp.PyTreeCheckpointHandler:
    handlers = ocp.type_handlers
    registry = handlers.create_type_handler_registry(
        (jax.Array, handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=SLICE)),
        (np.ndarray, handlers.NumpyHandler()),
        (np.number, handlers.ScalarHandler()),
    )
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


def _require_writable(folder: epath.Path) -> None:
    """Raises an OSError if nothing can be made in a folder; on a disk, the system's."""
    # Asked before Orbax is: where it cannot make its own folder, its threads wait five minutes for
    # one, and the process, which wants to end, waits for them.
    if is_local(folder):
        os.rmdir(tempfile.mkdtemp(prefix=".writable-", dir=folder))
    else:  # beside the folder: Orbax looks into it at the same time, if there is anything in it
        bucket.require_writable(folder.parent)


def _is_failed_write(error: Exception) -> bool:
    """Whether the system said no: an OSError, or an error of a library's, "OUT_OF_RANGE: ..."."""
    return (
        isinstance(error, OSError)
        or bucket.is_failure(error)
        or bool(re.match(r"[A-Z_]+: ", str(error)))
    )


def _reason(error: Exception) -> str:
    """What the system said, where it said something; all of the error in one line if not."""
    code = re.search(r"os_error_code='(\d+)'", str(error))  # TensorStore's way to tell
    if code:
        return os.strerror(int(code[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
