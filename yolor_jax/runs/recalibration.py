"""Exact statistics of batch norm for a network, from images of the split that it learnt from.

    trained = recalibrated(load("runs/own"), recipes.load("runs/own"), images=256)

Images are as the last steps of training see them, augmented: the weights were fitted to activations
that are normalised by those, and with the statistics of plain images they find less, as
docs/evaluation.md has it in figures. If more are asked for than the split has, it is gone through
again and augmented otherwise.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector
from yolor_jax.runs import preflight
from yolor_jax.runs.batches import batch_reader
from yolor_jax.runs.programs import augmentation
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split
from yolor_jax.runs.trained import Trained
from yolor_jax.training.exact_statistics import exact_statistics, make_moments
from yolor_jax.training.mesh import make_mesh, replicate, replicated, shard_batch
from yolor_jax.training.processes.group import ALONE, ProcessGroup

Recalibrate = Callable[[Mapping], PyTree]
"""``recalibrate(variables) -> batch_stats``."""


def taken_from(recipe: Recipe, images: int) -> int:
    """How many images statistics are taken from where so many are asked for: whole batches, and one
    of these at least.
    """
    return max(images // recipe.batch_size, 1) * recipe.batch_size


def make_recalibration(
    recipe: Recipe, module: Detector, source: Split, mesh: Mesh, *, images: int
) -> Recalibrate:
    """The exact statistics of a network's variables, from images of a split; compiles once.

    Args:
        recipe: says size, batch size and augmentation.
        module: the network, not folded.
        source: the split that it learns from.
        mesh: the devices.
        images: how many; see `taken_from`.

    Raises:
        InputError: the split has not the images of one batch.
    """
    length = recipe.length(len(source))
    read = batch_reader(recipe, source)
    augment = jax.jit(augmentation(recipe, length))
    moments = jax.jit(make_moments(module), out_shardings=replicated(mesh))
    key, last_step = jax.random.key(recipe.seed), np.int32(length.total_steps - 1)

    def augmented(batches: Iterator[Batch]) -> Iterator[jax.Array]:
        for number, batch in enumerate(batches):
            key_of_batch = jax.random.fold_in(key, number)
            yield augment(key_of_batch, shard_batch(mesh, batch), last_step).image

    def recalibrate(variables: Mapping) -> PyTree:
        with contextlib.closing(read()) as batches:
            first = itertools.islice(batches, taken_from(recipe, images) // recipe.batch_size)
            return exact_statistics(moments, replicate(mesh, variables), augmented(first))

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
        images: how many of the training split; see `taken_from`.
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
    module = recipe.network(len(trained.class_names))  # in the dtype of the run
    recalibrate = make_recalibration(recipe, module, source, make_mesh(), images=images)
    return trained.with_statistics(recalibrate(trained.variables), taken_from(recipe, images))
