"""The state that a run begins with: its latest checkpoint, given weights, or fresh numbers.

```python
state, position = state(run, checkpoints, say=print)
```
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from yolor_jax.models.detector import Detector
from yolor_jax.runs import anchors
from yolor_jax.runs.opening import load
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.run import Run
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import TrainState, abstract_state, init_state, new_state, place_state
from yolor_jax.trees import replace
from yolor_jax.weights.transfer import format_report, transfer


def state(run: Run, checkpoints: Checkpoints, say: Callable[[str], None]) -> tuple[TrainState, int]:
    """The state to begin with, and how many examples it has seen.

    Args:
        run: that begins or goes on.
        checkpoints: of its workdir.
        say: takes what the state is.

    Raises:
        InputError: a checkpoint or weights that do not fit the recipe.
        OSError: all checkpoints are damaged.
    """
    recipe = run.recipe
    if checkpoints.latest_step is None:
        return first_state(recipe, run.learner, run.length, run.mesh, say), 0
    size = (recipe.image_size, recipe.image_size)
    expected = abstract_state(run.learner, recipe.optim, run.length, image_size=size, mesh=run.mesh)
    restored, position, damaged = checkpoints.restore_latest(expected)
    for sentence in damaged:
        say(sentence)
    say(f"continuing at step {int(restored.step)} of {run.length.total_steps}")
    return restored, position


def first_state(
    recipe: Recipe,
    module: Detector,
    length: RunLength,
    mesh: Mesh,
    say: Callable[[str], None] = lambda sentence: None,
) -> TrainState:
    """The state before the first step, by the recipe's seed and weights to start from.

    Raises:
        InputError: weights that cannot be used.
        OSError: there are no such weights.
    """
    size = (recipe.image_size, recipe.image_size)
    loaded = _given_leaves(recipe, module, say) if recipe.init else {}
    key = jax.random.key(recipe.seed, impl="rbg")  # compiles many times faster than threefry
    first = init_state(module, recipe.optim, length, key=key, image_size=size, mesh=mesh)
    if not loaded:
        return first
    fresh = {"params": first.params, "batch_stats": first.batch_stats}
    return place_state(mesh, new_state(replace(fresh, loaded), recipe.optim, length))


def _given_leaves(
    recipe: Recipe, module: Detector, say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """What the weights to start from have for this network, by path; says what is left out."""
    given = load(recipe.init)
    found = transfer(given.spec, given.variables, module)
    say(f"starting from {recipe.init}:\n{format_report(found)}")
    if other := anchors.difference(given.spec, module.spec, found.loaded):
        say(other)
    return found.loaded
