"""One training run from data to pictures.

data -> train (with checkpoints and evaluations) -> fold -> evaluate the folded network
     -> detections.json, evaluations, pictures

    outcome = train(recipe, "runs/quickstart")    # or goes on with the run that is there
    outcome.folded.metrics["AP50"]

`reports.after_training`, the ``yolor_jax.train`` of the front door, adds the page on the run.
"""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from yolor_jax.data.example import Batch
from yolor_jax.evaluation.evaluate import Evaluation
from yolor_jax.models.fold import fold
from yolor_jax.paths import Path, user_path
from yolor_jax.progress import Say, silent
from yolor_jax.runs import (
    augmented,
    evaluation_folder,
    preflight,
    programs,
    recording,
    stamps,
    start,
    validation_pictures,
)
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.batches import batch_reader
from yolor_jax.runs.board import Board
from yolor_jax.runs.evaluation import Evaluated, make_evaluator, write_detections
from yolor_jax.runs.evaluation_mode import PLAIN
from yolor_jax.runs.preemption import Preemption, preemption, shared_preemption
from yolor_jax.runs.recalibration import taken_from
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.run import Run, open_run
from yolor_jax.runs.run_evaluation import RunEvaluation
from yolor_jax.stamp import Stamp, stamp
from yolor_jax.training import loop
from yolor_jax.training import mesh as meshes
from yolor_jax.training.bad_batch import keep_in
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.metrics import JsonLines, Writer
from yolor_jax.training.processes.group import ALONE
from yolor_jax.training.programs.compile_log import CompileLog
from yolor_jax.training.state import TrainState
from yolor_jax.training.step import make_advance
from yolor_jax.training.window import History


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes:
        workdir: where its files are.
        step: of its last checkpoint.
        trained: the last evaluation of the trained network; None if SIGTERM came before its end.
        folded: that of the folded network; None likewise.
        seconds: from the first step of this start to the last picture.
        compiled: what was compiled in that time, as a clause.
        unwritten: why boxes or pictures of the last evaluation could not be written; None if they
            are.
    """

    workdir: Path
    step: int
    trained: Evaluation | None
    folded: Evaluation | None
    seconds: float
    compiled: str
    unwritten: OSError | None = None

    @property
    def preempted(self) -> bool:
        """SIGTERM ended the run; the same call goes on with it."""
        return self.folded is None


def train(
    recipe: Recipe,
    workdir: str | os.PathLike,
    *,
    say: Say = silent,
    progress: bool = False,
) -> Outcome:
    """Trains as the recipe says, or continues the run in the workdir.

    Args:
        recipe: what is asked for.
        workdir: of the run; created if need be.
        say: takes what the run tells on its way, a sentence at a time.
        progress: whether to show progress bars.

    Raises:
        InputError: the recipe, the data or the workdir cannot be used.
        FloatingPointError: the loss is not finite; the message says what is left and how to look.
        OSError: something could not be written.
    """
    run = open_run(recipe, user_path(workdir), progress=progress)
    return train_run(run, say=say, progress=progress)


def train_run(run: Run, *, say: Say = silent, progress: bool = False) -> Outcome:
    """`train` of a run that has been opened; all files are on disk on return."""
    caught = preemption() if run.group is ALONE else shared_preemption(run.mesh)
    with caught as preempted, CompileLog(say) as compilations:
        started = time.monotonic()
        evaluation = RunEvaluation(run, preempted, progress=progress)
        state, trained = _train(run, evaluation, preempted, say, progress)
        finish = functools.partial(_finish, run, evaluation, state, progress)
        finished = None if trained is None else preempted.until(finish)
        folded, unwritten = finished or (None, None)
        seconds = time.monotonic() - started
    step, compiled = int(state.step), compilations.summary()
    return Outcome(run.workdir, step, trained, folded, seconds, compiled, unwritten)


def _finish(
    run: Run, evaluation: RunEvaluation, state: TrainState, progress: bool
) -> tuple[Evaluation, OSError | None]:
    """Folds the network, evaluates and draws that; a disk that is full takes no number away."""
    variables = fold(run.module.spec, meshes.replicate(run.mesh, evaluation.averaged(state)))
    fused = run.recipe.network(run.num_classes, fused=True)
    source = run.sources.evaluation
    folded = make_evaluator(run.recipe, fused, source, run.mesh, progress=progress)(variables)
    if run.group.is_first:
        pictures, on_host = run.workdir / "pictures", jax.device_get(variables)
        asked = run.recipe.eval.recalibrate
        exact = taken_from(run.recipe, asked) if asked else None
        evaluated = Evaluated(folded, fused, source, run.recipe, PLAIN, int(state.step), exact)
        try:
            write_detections(run.workdir / "detections.json", folded)
            evaluation_folder.write(evaluation_folder.root_of(run.workdir), evaluated)
            size = run.recipe.image_size
            validation_pictures.draw_validation(pictures, fused, on_host, source, size)
        except OSError as error:
            return folded, error
    return folded, None


def _train(
    run: Run, evaluation: RunEvaluation, preempted: Preemption, say: Say, progress: bool
) -> tuple[TrainState, Evaluation | None]:
    """Trains to the last step and evaluates.

    The evaluation is None if SIGTERM came before its end.
    """
    recipe, length = run.recipe, run.length
    with contextlib.ExitStack() as stack:
        read = batch_reader(recipe, run.sources.train)
        starts = [*stamps.read(run.workdir), stamp()]
        checkpoints = stack.enter_context(
            Checkpoints(run.workdir, _meta(run), starts, best_by=recipe.eval.best_by)
        )
        if run.group.is_first:
            recipes.save(recipe, run.workdir)
            stamps.write(run.workdir, starts)
        state, position = start.state(run, checkpoints, say)
        key = jax.random.key(recipe.seed)
        records = _records(run, stack, state, functools.partial(read, start=position), starts, key)
        step = programs.make_step(recipe, run.learner, state, run=length, mesh=run.mesh)
        # Workers end with the training: the stack is left before the folded network is evaluated.
        batches = read(start=position, workers=recipe.data.workers)
        stack.enter_context(contextlib.closing(batches))
        evaluate_every = max(1, round(recipe.eval.every_epochs * length.steps_per_epoch))
        advance = make_advance(step, run.mesh, key)
        if recipe.profile and run.group.is_first:
            advance = stack.enter_context(recording.traced_in(run, advance, int(state.step), say))
        state = loop.train(
            state,
            advance,
            batches=batches,
            run=length,
            every=loop.Every(
                save=recipe.checkpoint_every,
                log=recipe.log_every,
                evaluate=evaluate_every,
                give_up=evaluate_every * recipe.eval.patience or None,
            ),
            checkpoints=checkpoints,
            writers=records.writers,
            evaluate=evaluation.scores(checkpoints, records.writers, records.board),
            keep=keep_in(
                run.workdir,
                key=key,
                image_id=lambda position: run.sources.train.image_ids[position],
            ),
            stop=preempted,
            effort=recording.effort(run),
            history=records.history,
            progress=progress and run.group.is_first,
        )
        if not preempted() and evaluation.last is None:  # a run that was finished before
            evaluation.of(state, checkpoints)
        if not preempted() and int(state.step) < length.total_steps:
            say(
                f"{recipe.eval.best_by} has not risen for {recipe.eval.patience} evaluations: the "
                f"run ends at step {int(state.step)} of {length.total_steps}; its best is --step "
                f"{checkpoints.best_step}"
            )
    return state, None if preempted() else evaluation.last


class _Records(NamedTuple):
    """What a process writes of a run beside its checkpoints.

    Attributes:
        writers: of rows; none in all processes but the first.
        board: TensorBoard's, which takes pictures too; None where there is none.
        history: of the rows that are there; None where nobody reads them.
    """

    writers: Sequence[Writer] = ()
    board: Board | None = None
    history: History | None = None


def _records(
    run: Run,
    stack: contextlib.ExitStack,
    state: TrainState,
    read: Callable[[], Iterator[Batch]],
    starts: Sequence[Stamp],
    key: jax.Array,
) -> _Records:
    """Opens what the first process writes, which ``stack`` closes, and draws the first images."""
    if not run.group.is_first:
        return _Records()
    step = int(state.step)
    rows = stack.enter_context(JsonLines(run.workdir / "metrics.jsonl", keep_until=step))
    history = recording.history(starts, rows)
    others, board = recording.writers(run, rows, step, starts)
    with contextlib.closing(read()) as first_batches:
        picture = _draw_augmented(run, first_batches, state, key)
    if board:
        board.show_augmented(step, picture)
    for writer in others:
        stack.enter_context(writer)
    return _Records([rows, *others], board, history)


def _draw_augmented(run: Run, batches: Iterator[Batch], state: TrainState, key: jax.Array) -> Path:
    """Draws the first images as the next steps will see them; the file."""
    picture = run.workdir / "pictures" / "augmented.png"
    augmented.draw(
        picture,
        batches,
        config=run.recipe.augment,
        augment=programs.augmentation(run.recipe, run.length),
        key=key,
        step=int(state.step),
        class_names=run.sources.class_names,
    )
    return picture


def _meta(run: Run) -> dict[str, Any]:
    """What a checkpoint says of itself: the network, and all that decides the course of its run."""
    model, train_split = run.recipe.model, run.sources.train
    return {
        "model": model.name,
        "implicit": model.implicit,
        "tasks": model.tasks,
        **({} if model.anchors is None else {"anchors": model.anchors}),
        "num_classes": run.num_classes,
        "class_names": list(run.sources.class_names),
        "image_size": run.recipe.image_size,
        "train_images": len(train_split),
        "train_digest": preflight.digest_of_images(train_split),
        "run": run.recipe.identity(),
    }
