"""The evaluations on the way of a training run, and what each of them leaves.

```python
evaluation = RunEvaluation(run, preempted, progress=True)
loop.train(..., evaluate=evaluation.scores(checkpoints, writers, board))
evaluation.last.metrics["AP50"]
```
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from yolor_jax.evaluation.evaluate import Evaluation
from yolor_jax.models.implicits import distances, effective_ranks
from yolor_jax.models.spec import ModelSpec
from yolor_jax.runs.board import Board
from yolor_jax.runs.evaluation import make_evaluator
from yolor_jax.runs.preemption import Preemption
from yolor_jax.runs.recalibration import make_recalibration, taken_from
from yolor_jax.runs.run import Run
from yolor_jax.training import mesh as meshes
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.metrics import Writer
from yolor_jax.training.state import TrainState


class RunEvaluation:
    """Evaluates the moving average of a run, with exact statistics where its recipe says so.

    Attributes:
        last: the evaluation that was made last; None before the first.
    """

    def __init__(self, run: Run, preempted: Preemption, *, progress: bool):
        """Compiles at the first evaluation.

        Args:
            run: that trains.
            preempted: cuts an evaluation short on SIGTERM.
            progress: whether to show a bar.
        """
        recipe, sources = run.recipe, run.sources
        self.last: Evaluation | None = None
        self._run = run
        self._preempted = preempted
        self._evaluate = make_evaluator(
            recipe, run.module, sources.evaluation, run.mesh, progress=progress
        )
        self._recalibrate = None
        if images := recipe.eval.recalibrate:
            self._recalibrate = make_recalibration(
                recipe, run.module, sources.train, run.mesh, images=images
            )

    def averaged(self, state: TrainState) -> Mapping[str, Any]:
        """What of a state is evaluated."""
        variables = state.ema_variables
        if self._recalibrate is None:
            return variables
        return {**variables, "batch_stats": self._recalibrate(variables)}

    def of(self, state: TrainState, checkpoints: Checkpoints) -> Evaluation | None:
        """Evaluates a state whose checkpoint is the latest; its exact statistics go beside that.

        Returns:
            None if SIGTERM came before its end.

        Raises:
            OSError: if the checkpoint or its statistics could not be written.
        """
        variables = self.averaged(state)
        evaluation = self._preempted.until(lambda: self._evaluate(variables))
        if evaluation is None:
            return None
        if asked := self._run.recipe.eval.recalibrate:
            images = taken_from(self._run.recipe, asked)
            checkpoints.write_statistics(int(state.step), variables["batch_stats"], images=images)
        self.last = evaluation
        return evaluation

    def scores(
        self, checkpoints: Checkpoints, writers: Sequence[Writer], board: Board | None
    ) -> Callable[[TrainState], dict[str, float] | None]:
        """What the loop calls after it has saved a state that is to be evaluated.

        Numbers for which the split has no object of that size are left out. How far each g(z) has
        moved, and in how many directions, goes to the writers, pictures to the board.
        """

        def scores(state: TrainState) -> dict[str, float] | None:
            evaluation = self.of(state, checkpoints)
            if evaluation is None:
                return None
            run = self._run
            params = meshes.replicate(run.mesh, state.ema_params)  # by all, for the first process
            if run.group.is_first:
                step, params = int(state.step), jax.device_get(params)
                _write_implicit(writers, step, run.module.spec, params)
                if board:
                    board.show_evaluation(step, params, evaluation.results)
            return {name: value for name, value in evaluation.metrics.items() if value is not None}

        return scores


def _write_implicit(
    writers: Sequence[Writer], step: int, spec: ModelSpec, params: Mapping[str, Any]
) -> None:
    """A row of what each g(z) has become; none where there is nothing implicit."""
    row = {f"implicit/{path}": moved for path, moved in distances(spec, params).items()}
    row |= {f"implicit_rank/{path}": rank for path, rank in effective_ranks(spec, params).items()}
    for writer in writers if row else ():
        writer.write(step, row)
