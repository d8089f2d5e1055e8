"""The state that a run begins with: its latest checkpoint, given weights, or fresh numbers.

state, position = state(config, module, run, mesh, checkpoints)
"""

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.models.detector import Detector
from yolor_jax.runs import anchors, recipe
from yolor_jax.runs.trained import open_checkpoint
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import TrainState, abstract_state, init_state, new_state, place_state
from yolor_jax.trees import replace
from yolor_jax.weights.transfer import format_report, transfer


def state(
    config: ConfigDict, module: Detector, run: RunLength, mesh: Mesh, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """The state to begin with, and how many examples it has seen; says what it is.

    Raises:
        InputError: a checkpoint or weights that do not fit the recipe.
        OSError: all checkpoints are damaged.
    """
    if checkpoints.latest_step is None:
        return first_state(config, module, run, mesh), 0
    size = (config.image_size, config.image_size)
    optim = recipe.optim_config(config)
    expected = abstract_state(module, optim, run, image_size=size, mesh=mesh)
    restored, position, damaged = checkpoints.restore_latest(expected)
    for sentence in damaged:
        print(sentence)
    print(f"continuing at step {int(restored.step)} of {run.total_steps}")
    return restored, position


def first_state(config: ConfigDict, module: Detector, run: RunLength, mesh: Mesh) -> TrainState:
    """The state before the first step, by the recipe's seed and weights to start from.

    Raises:
        InputError: weights that cannot be used.
        OSError: there are no such weights.
    """
    optim = recipe.optim_config(config)
    size = (config.image_size, config.image_size)
    loaded = _given_leaves(config, module) if config.init else {}
    key = jax.random.key(config.seed, impl="rbg")  # compiles many times faster than threefry
    first = init_state(module, optim, run, key=key, image_size=size, mesh=mesh)
    if not loaded:
        return first
    fresh = {"params": first.params, "batch_stats": first.batch_stats}
    return place_state(mesh, new_state(replace(fresh, loaded), optim, run))


def _given_leaves(config: ConfigDict, module: Detector) -> dict[str, np.ndarray]:
    """What the weights to start from have for this network, by path; says what is left out."""
    given = open_checkpoint(config.init)
    found = transfer(given.spec, given.variables, module)
    print(f"starting from {config.init}:\n{format_report(found)}")
    if other := anchors.difference(given.spec, module.spec, found.loaded):
        print(other)
    return found.loaded
