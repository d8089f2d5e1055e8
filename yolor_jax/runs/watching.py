"""How a run stands that goes on elsewhere: read from its workdir, also in a bucket.

```python
standing = look(user_path("gs://bucket/runs/csp"))
standing.share, standing.seconds_left, standing.rows[-1]
```
"""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from yolor_jax.paths import Path
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.recipe import Recipe
from yolor_jax.training.metrics import read_json_lines

ROWS = "metrics.jsonl"


@dataclasses.dataclass(frozen=True)
class Standing:
    """A run at one moment.

    Attributes:
        recipe: of the run.
        rows: of its metrics, oldest first; those of an evaluation have ``eval/`` before their
            names.
        written: when the last of them was (UTC); None before the first.
    """

    recipe: Recipe
    rows: Sequence[Mapping[str, Any]]
    written: datetime.datetime | None

    @property
    def share(self) -> float:
        """How much of the run is done, 0..1."""
        return min(1.0, self._last("epoch") / self.recipe.epochs)

    @property
    def seconds_left(self) -> float | None:
        """Of training, at the speed of its steps until now; None before there is any."""
        seconds = self._last("train_seconds")
        if not self.share or not seconds:
            return None
        return seconds * (1 - self.share) / self.share

    @property
    def finished(self) -> bool:
        """Whether the last step was evaluated."""
        return self.share == 1.0 and any(name.startswith("eval/") for name in self.rows[-1])

    def series(self, name: str) -> list[float]:
        """The values of a metric, oldest first."""
        return [row[name] for row in self.rows if name in row]

    def _last(self, name: str) -> float:
        values = self.series(name)
        return values[-1] if values else 0.0


def look(workdir: Path) -> Standing:
    """How the run in a workdir stands.

    Raises:
        FileNotFoundError: the folder holds no run.
        InputError: its files are damaged.
        OSError: they cannot be read.
    """
    recipe = recipes.load(workdir)
    file = workdir / ROWS
    try:
        rows = read_json_lines(file)
        written = datetime.datetime.fromtimestamp(epath.Path(file).stat().mtime, datetime.UTC)
    except FileNotFoundError:
        rows, written = [], None
    return Standing(recipe, rows, written if rows else None)
