"""One training run from data to pictures, as ``train_main.py`` starts it.

data -> train (with checkpoints and evaluations) -> fold -> evaluate the folded network
     -> detections.json, pictures -> what to type next
"""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import tqdm
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.data.example import Batch
from yolor_jax.errors import run_errors, user_errors, user_errors_in
from yolor_jax.evaluation.evaluate import Evaluation
from yolor_jax.models.detector import Detector
from yolor_jax.models.fold import fold
from yolor_jax.runs import anchors, augmented, preflight, programs, recipe, report, start
from yolor_jax.runs.batches import batch_reader
from yolor_jax.runs.board import Board
from yolor_jax.runs.curves import Curves
from yolor_jax.runs.evaluation import Evaluator, make_evaluator, table, write_detections
from yolor_jax.runs.preemption import Preemption, preemption, shared_preemption
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.loop import train
from yolor_jax.training.metrics import JsonLines, TensorBoard, Writer
from yolor_jax.training.optim import RunLength
from yolor_jax.training.processes.group import ALONE, ProcessGroup
from yolor_jax.training.programs.compile_log import CompileLog
from yolor_jax.training.state import TrainState


def run(config: ConfigDict, workdir: pathlib.Path, group: ProcessGroup = ALONE) -> None:
    """Trains as the recipe says, or continues the run in the workdir.

    On SIGTERM it saves, says how to continue, and returns.

    Args:
        config: the recipe.
        workdir: of the run; created if need be.
        group: the processes of the run, connected.

    Raises:
        CommandError: the recipe, the data or the workdir cannot be used; or the loss is not finite.
    """
    with user_errors():
        recipe.check(config)
        recipe.require_init(config)
        recipe.augment_config(config)  # evaluation does without it
        sources = preflight.open_sources(config, group)
        anchors.resolve(config, sources.train, workdir)
        used = {"model.anchors": str(config.model.anchors)}
        preflight.agree(group, "anchors", used, "Give them as --config.model.anchors.")
        module = recipe.detector(config, len(sources.class_names))
        mesh = meshes.make_mesh(fsdp=config.mesh.fsdp)
        print(report.opening(config, sources, module, workdir))
        if misfit := anchors.warning(config, sources.train):
            print(misfit)
    preflight.require_shared(workdir, group)
    evaluator = make_evaluator(config, module, sources.evaluation, mesh)

    with preemption() if group is ALONE else shared_preemption(mesh) as preempted:
        started = time.monotonic()
        with CompileLog(tqdm.tqdm.write) as compilations:
            state, trained = _train(
                config, sources, module, mesh, evaluator, workdir, group, preempted
            )
            finish = functools.partial(_finish, config, sources, module.spec, mesh, workdir, group)
            folded = preempted.until(lambda: finish(state, trained)) if trained else None
        minutes = (time.monotonic() - started) / 60
    if folded is None:
        print(report.preempted(workdir, int(state.step)))
    else:
        took = f"{minutes:.1f} minutes since this start; {compilations.summary()}"
        print(report.closing(config, workdir, folded.metrics, took))


def _finish(
    config, sources, spec, mesh, workdir, group, state: TrainState, trained: Evaluation
) -> Evaluation:
    """Folds the network, evaluates and draws that."""
    folded_variables = fold(spec, meshes.whole(mesh, state.ema_variables))
    fused = recipe.detector(config, len(sources.class_names), fused=True)
    folded = make_evaluator(config, fused, sources.evaluation, mesh)(folded_variables)
    print(table({"trained": trained.metrics, "folded": folded.metrics}, fused))
    if group.is_first:
        write_detections(workdir / "detections.json", folded)
        on_host = jax.device_get(folded_variables)
        report.draw_validation(
            workdir / "pictures", fused, on_host, sources.evaluation, config.image_size
        )
    return folded


def _train(
    config: ConfigDict,
    sources: recipe.Sources,
    module: Detector,
    mesh: Mesh,
    evaluator: Evaluator,
    workdir: pathlib.Path,
    group: ProcessGroup,
    preempted: Preemption,
) -> tuple[TrainState, Evaluation | None]:
    """Trains to the last step and evaluates; all files are on disk on return.

    The evaluation is None if SIGTERM came before its end.
    """
    with run_errors(), contextlib.ExitStack() as stack:
        with user_errors():
            run = recipe.run_length(config, len(sources.train))
            read = batch_reader(config, sources.train)
            programs.require_batch(config, mesh)
            checkpoints = stack.enter_context(Checkpoints(workdir, _meta(config, sources)))
            if group.is_first:
                recipe.save(config, workdir)
            state, position = start.state(config, module, run, mesh, checkpoints)
            writers = _writers(config, workdir, int(state.step)) if group.is_first else []
            for writer in writers:
                stack.enter_context(writer)
        train_step = programs.make_step(config, module, state, run=run, mesh=mesh)
        key = jax.random.key(config.seed)
        shows = group.is_first and config.tensorboard
        board = Board(writers[-1], sources.evaluation, module.spec) if shows else None
        if group.is_first:
            with contextlib.closing(read(start=position)) as first_batches:
                picture = _draw_augmented(config, sources, first_batches, run, state, key, workdir)
            if board:
                board.show_augmented(int(state.step), picture)
        batches = read(start=position, workers=config.data.workers)
        stack.enter_context(contextlib.closing(batches))  # workers end with the training
        evaluations = []
        state = train(
            state,
            train_step=train_step,
            batches=user_errors_in(batches),
            place=functools.partial(meshes.shard_batch, mesh),
            key=key,
            run=run,
            checkpoints=checkpoints,
            save_every=config.checkpoint_every,
            position=position,
            writers=writers,
            log_every=config.log_every,
            evaluate=_scores(evaluator, evaluations, preempted, mesh, board),
            evaluate_every=max(1, round(config.eval.every_epochs * run.steps_per_epoch)),
            image_id=lambda position: sources.train.image_ids[position],
            bad_batches=workdir,
            stop=preempted,
            progress=group.is_first,
        )
    if preempted():
        return state, None
    if not evaluations:  # a run that was finished before
        evaluations.append(preempted.until(lambda: evaluator(state.ema_variables)))
    return state, evaluations[-1]


def _draw_augmented(
    config: ConfigDict,
    sources: recipe.Sources,
    batches: Iterator[Batch],
    run: RunLength,
    state: TrainState,
    key: jax.Array,
    workdir: pathlib.Path,
) -> pathlib.Path:
    """Draws the first images as the next steps will see them; the file."""
    picture = workdir / "pictures" / "augmented.png"
    augmented.draw(
        picture,
        user_errors_in(batches),
        config=recipe.augment_config(config),
        augment=recipe.augmentation(config, run),
        key=key,
        step=int(state.step),
        class_names=sources.class_names,
    )
    return picture


def _writers(config: ConfigDict, workdir: pathlib.Path, step: int) -> list[Writer]:
    """Where metrics go; rows behind the step at which the run continues are dropped."""
    rows = workdir / "metrics.jsonl"
    writers = [JsonLines(rows, keep_until=step), Curves(rows, workdir / "curves.png")]
    if config.tensorboard:
        writers.append(TensorBoard(workdir / "tensorboard", keep_until=step))
    return writers


def _scores(
    evaluator: Evaluator,
    evaluations: list[Evaluation],
    preempted: Preemption,
    mesh: Mesh,
    board: Board | None,
) -> Callable[[TrainState], dict[str, float] | None]:
    """What the loop calls; appends to ``evaluations``.

    Numbers for which the split has no object of that size are left out. SIGTERM cuts it short.
    """

    def scores(state: TrainState) -> dict[str, float] | None:
        evaluation = preempted.until(lambda: evaluator(state.ema_variables))
        if evaluation is None:
            return None
        evaluations.append(evaluation)
        params = meshes.whole(mesh, state.ema_params)  # by all processes, for the first
        if board:
            board.show_evaluation(int(state.step), jax.device_get(params), evaluation.results)
        return {name: value for name, value in evaluation.metrics.items() if value is not None}

    return scores


def _meta(config: ConfigDict, sources: recipe.Sources) -> dict[str, Any]:
    """What a checkpoint says of itself: the network, and all that decides the course of its run."""
    own = recipe.anchors(config)
    return {
        "model": config.model.name,
        "implicit": recipe.implicit(config),
        "tasks": recipe.tasks(config),
        **({} if own is None else {"anchors": own}),
        "num_classes": len(sources.class_names),
        "class_names": list(sources.class_names),
        "image_size": config.image_size,
        "train_images": len(sources.train),
        "train_digest": preflight.digest_of_images(sources.train),
        "run": recipe.identity(config),
    }
