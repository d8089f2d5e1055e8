"""The training batches of a recipe: one way to open them, for training and for its bench.

read = batch_reader(config, sources.train)
with contextlib.closing(read(start=position, workers=config.data.workers)) as batches: ...
"""

import functools
from collections.abc import Callable, Iterator

import jax
from ml_collections import ConfigDict

from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import train_batches
from yolor_jax.runs import recipe


def batch_reader(config: ConfigDict, source: recipe.Split) -> Callable[..., Iterator[Batch]]:
    """Opens this process's part of the training batches; each call opens them anew.

    Args:
        config: the recipe.
        source: the split to train on.

    Returns:
        `train_batches` without what is still to say: ``start``, the examples consumed before, and
        ``workers``, the processes that make batches beside this one.

    Raises:
        InputError: image weights are asked for, and no image shows an object.
    """
    return functools.partial(
        train_batches,
        source,
        image_size=config.image_size,
        batch_size=config.batch_size,
        max_targets=config.data.max_targets,
        seed=config.seed,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.data.threads,
        order=recipe.example_order(config, source),
        partners=recipe.augment_config(config).decodes - 1,
    )
