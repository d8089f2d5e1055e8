"""Rows of metrics in Weights & Biases; WANDB_MODE=offline keeps them in the run's folder."""

from collections.abc import Mapping

from yolor_jax.errors import InputError
from yolor_jax.training.trackers.experiment import PROJECT, Experiment


def open_writer(experiment: Experiment) -> "WandbWriter":
    """The writer of a run that begins or goes on."""
    return WandbWriter(experiment)


class WandbWriter:
    """A run of Weights & Biases."""

    def __init__(self, experiment: Experiment):
        """Begins the run, or goes on with it.

        Raises:
            InputError: Weights & Biases refuses, as without a key.
        """
        import wandb

        try:
            self._run = wandb.init(
                project=PROJECT,
                name=experiment.name,
                id=experiment.identity,
                resume="allow",
                dir=str(experiment.folder),
                config=experiment.settings,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.Error as error:
            raise InputError(
                f"wandb refuses: {error}; WANDB_MODE=offline keeps the rows in {experiment.folder}"
            ) from error
        # Its own steps only grow; rows behind a checkpoint come again when a run was killed.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Records the values of one step."""
        self._run.log({**values, "step": step})

    def flush(self) -> None:
        """Wandb writes in a process of its own."""

    def __enter__(self) -> "WandbWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)
