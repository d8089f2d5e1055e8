"""Rows of metrics in trackio, which keeps them in files; TRACKIO_DIR says where."""

from collections.abc import Mapping

from yolor_jax.training.trackers.experiment import PROJECT, Experiment


def open_writer(experiment: Experiment) -> "TrackioWriter":
    """The writer of a run that begins or goes on."""
    return TrackioWriter(experiment)


class TrackioWriter:
    """A run of trackio."""

    def __init__(self, experiment: Experiment):
        """Begins the run, or goes on with it."""
        import trackio

        self._run = trackio.init(
            project=PROJECT,
            name=f"{experiment.name}-{experiment.identity}",
            resume="allow",
            config=experiment.settings,
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Records the values of one step."""
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """Trackio writes on a thread of its own."""

    def __enter__(self) -> "TrackioWriter":
        return self

    def __exit__(self, *_) -> None:
        self._run.finish()
