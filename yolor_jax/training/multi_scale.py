"""Multi-scale training: each step at one of a few sizes, drawn from the seed and the step alone.

Every size is a program of its own, compiled when it is first drawn. What is resized is the
augmented batch, on the device; the pipeline and the state know nothing of it.

    make_step = functools.partial(make_train_step, module, loss=loss, config=config, ...)
    steps = steps_by_size(make_step, augment=augment, sizes=(512, 640, 768))
    step = make_multi_scale_step(steps, seed=0)
    state, metrics = step(state, batch, key)  # like the step of `make_train_step`
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from yolor_jax.augment.resize import resize
from yolor_jax.data.example import Batch
from yolor_jax.training.state import TrainState
from yolor_jax.training.step import Augment, Metrics, TrainStep

PURPOSE = 0x5CA1E
"""Makes these draws others than those of anything else with the same seed and step."""


def drawn_size(sizes: tuple[int, ...], seed: int, step: int) -> int:
    """The size of one step: each is equally likely, whatever the sizes of other steps."""
    [word] = np.random.SeedSequence((PURPOSE, seed, step)).generate_state(1)
    return sizes[int(word) % len(sizes)]


def steps_by_size(
    make_step: Callable[..., TrainStep], *, augment: Augment, sizes: Sequence[int]
) -> dict[int, TrainStep]:
    """The training step of each size.

    Args:
        make_step: ``make_step(augment=...)`` gives the step of one size.
        augment: ``(key, batch, step) -> batch``, on the device, before the batch is resized.
        sizes: sides of the network input in pixels.
    """
    return {side: make_step(augment=_at_size(augment, side)) for side in sizes}


def make_multi_scale_step(steps: Mapping[int, TrainStep], *, seed: int) -> TrainStep:
    """A training step that chooses its size.

    Args:
        steps: the step of each size, see `steps_by_size`.
        seed: of the draws.

    Returns:
        ``step(state, batch, key) -> (state, metrics)``; after an interruption it draws what it
        would have drawn.
    """
    sizes = tuple(steps)
    # The number of the state that a step returned: asking the device would wait for that step.
    latest, number = None, 0

    def train_step(state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        nonlocal latest, number
        if state.step is not latest:
            number = int(jax.device_get(state.step))
        state, metrics = steps[drawn_size(sizes, seed, number)](state, batch, key)
        latest, number = state.step, number + 1
        return state, metrics

    return train_step


def _at_size(augment: Augment, side: int) -> Augment:
    def augment_and_resize(key: jax.Array, batch: Batch, step: jax.Array) -> Batch:
        return resize(augment(key, batch, step), side)

    return augment_and_resize
