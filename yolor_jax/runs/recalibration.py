"""Exact statistics of batch norm for a network, from images of the split that it learnt from.

    trained = recalibrated(load("runs/own"), recipes.load(pathlib.Path("runs/own")), images=256)

Images are as evaluation sees them, letterboxed and not augmented, evenly spread over the split, in
batches as training had them.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from yolor_jax.data.pipeline import eval_batches
from yolor_jax.data.subset import Subset
from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector
from yolor_jax.runs import preflight
from yolor_jax.runs.batches import reading
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split
from yolor_jax.runs.trained import Trained
from yolor_jax.training.exact_statistics import exact_statistics, make_moments
from yolor_jax.training.mesh import make_mesh, replicate, replicated, shard_batch
from yolor_jax.training.processes.group import ALONE, ProcessGroup

Recalibrate = Callable[[Mapping], PyTree]
"""``recalibrate(variables) -> batch_stats``."""


def make_recalibration(
    recipe: Recipe, module: Detector, source: Split, mesh: Mesh, *, images: int
) -> Recalibrate:
    """The exact statistics of a network's variables, from images of a split; compiles once.

    Args:
        recipe: says size and batch size.
        module: the network, not folded.
        source: the split that it learns from.
        mesh: the devices.
        images: how many; as many whole batches as there are in them, and one at least.

    Raises:
        InputError: the split has not the images of one batch.
    """
    batch_size = recipe.batch_size
    count = min(images, len(source)) // batch_size * batch_size or batch_size
    if len(source) < count:
        raise InputError(
            f"the split {source.split!r} has {len(source)} images, fewer than a batch of "
            f"{batch_size}; give a smaller batch size, or more images"
        )
    chosen = Subset(source, tuple(i * len(source) // count for i in range(count)))
    moments = jax.jit(make_moments(module), out_shardings=replicated(mesh))

    def recalibrate(variables: Mapping) -> PyTree:
        batches = eval_batches(
            chosen,
            image_size=recipe.image_size,
            batch_size=batch_size,
            max_targets=0,
            reading=reading(recipe, workers=0),
        )
        images = (shard_batch(mesh, batch).image for batch in batches)
        return exact_statistics(moments, replicate(mesh, variables), images)

    return recalibrate


def recalibrated(
    trained: Trained,
    recipe: Recipe,
    group: ProcessGroup = ALONE,
    *,
    images: int,
    progress: bool = False,
) -> Trained:
    """A network with exact statistics in the place of its running ones.

    Args:
        trained: the network, not folded.
        recipe: of its run, or one that was fitted to it; says data, size and batch size.
        group: the processes that do it together, connected.
        images: how many of the training split.
        progress: whether a preparation of the data shows bars.

    Raises:
        InputError: the network is folded, or the data cannot be used.
    """
    if trained.fused:
        raise InputError(
            "the network is folded: its statistics are part of its convolutions; take them anew "
            "before the fold"
        )
    split = dataclasses.replace(recipe.data, eval_split=recipe.data.train_split)
    source = preflight.open_evaluation(split, group, progress=progress)
    recalibrate = make_recalibration(recipe, trained.module, source, make_mesh(), images=images)
    return trained.with_statistics(recalibrate(trained.variables), images)
