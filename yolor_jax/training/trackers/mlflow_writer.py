"""Rows of metrics in MLflow: at MLFLOW_TRACKING_URI, or in a file in the run's folder."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yolor_jax.errors import InputError
from yolor_jax.training.trackers.experiment import PROJECT, Experiment
from yolor_jax.trees import flatten_by_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

IDENTITY = "yolor_jax.identity"  # the tag by which a run is found again


def open_writer(experiment: Experiment) -> "MlflowWriter":
    """The writer of a run that begins or goes on."""
    return MlflowWriter(experiment)


class MlflowWriter:
    """A run of MLflow."""

    def __init__(self, experiment: Experiment):
        """Begins the run, or goes on with it.

        Raises:
            InputError: MLflow refuses, or does not answer.
        """
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{experiment.folder}/mlflow.db"
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run = _goes_on(self._client, experiment) or _begins(self._client, experiment)
        except MlflowException as error:
            raise InputError(f"MLflow at {uri} refuses: {error}") from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Records the values of one step."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def flush(self) -> None:
        """Each value is written at once."""

    def __enter__(self) -> "MlflowWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None = None, *_) -> None:
        self._client.set_terminated(self._run, "FINISHED" if kind is None else "FAILED")


def _experiment(client: "MlflowClient") -> str:
    """The number of our experiment, which is made if need be."""
    found = client.get_experiment_by_name(PROJECT)
    return found.experiment_id if found else client.create_experiment(PROJECT)


def _goes_on(client: "MlflowClient", experiment: Experiment) -> str | None:
    """The run that there is of an experiment, which runs again."""
    tag = f"tags.`{IDENTITY}` = '{experiment.identity}'"
    runs = client.search_runs([_experiment(client)], filter_string=tag)
    if not runs:
        return None
    client.update_run(runs[0].info.run_id, status="RUNNING")
    return runs[0].info.run_id


def _begins(client: "MlflowClient", experiment: Experiment) -> str:
    """A new run, with its settings."""
    run = client.create_run(
        _experiment(client), run_name=experiment.name, tags={IDENTITY: experiment.identity}
    ).info.run_id
    for path, value in flatten_by_path(experiment.settings).items():
        client.log_param(run, path.replace("/", "."), value)
    return run
