"""What a tracker is told of a run, and which trackers there are.

```python
experiment = Experiment("csp", identity="3fa09c1b7d42", folder=workdir, settings=settings)
with open_tracker("wandb", experiment) as writer:
    writer.write(120, {"loss/box": 0.05})
```
"""

import importlib
from typing import Any, NamedTuple

from yolor_jax.errors import InputError
from yolor_jax.paths import Path

PROJECT = "yolor-jax"
TRACKERS = ("wandb", "mlflow", "trackio")


class Experiment(NamedTuple):
    """A run, as trackers see it.

    Attributes:
        name: for people.
        identity: the same each time the run goes on, and of no other run.
        folder: of the run, local; trackers that keep files keep them there.
        settings: of its recipe, nested.
    """

    name: str
    identity: str
    folder: Path
    settings: dict[str, Any]


def open_tracker(name: str, experiment: Experiment) -> Any:
    """The writer of a tracker, a context manager.

    Args:
        name: one of `TRACKERS`.
        experiment: goes on, if the tracker knows it.

    Raises:
        InputError: there is no such tracker.
        ImportError: it is not installed; names the extra.
    """
    if name not in TRACKERS:
        raise InputError(f"there is no tracker {name!r}; expected one of {', '.join(TRACKERS)}")
    module = importlib.import_module(f"yolor_jax.training.trackers.{name}_writer")
    try:
        return module.open_writer(experiment)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} is not installed: pip install 'yolor-jax[{name}]'; or leave it out of "
            "--config.trackers"
        ) from error
