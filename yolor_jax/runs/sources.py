"""The images of a recipe: its splits, and the order in which training takes them."""

import dataclasses
from collections.abc import Sequence

from yolor_jax.data.image_weights import WeightedOrder, image_weights
from yolor_jax.data.objects import MOST_IMAGES, all_objects, some_objects
from yolor_jax.data.sources import Source
from yolor_jax.data.subset import Subset, first_images
from yolor_jax.errors import InputError
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.runs.recipe import DataRecipe, Recipe

Split = Source | Subset


@dataclasses.dataclass(frozen=True)
class Sources:
    """The two splits of a recipe; their classes are the same."""

    train: Split
    evaluation: Split

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.train.class_names

    @property
    def identities(self) -> int:
        """How many the objects of the training split have; 0 where nobody knows them."""
        return 0 if self.train.targets is None else self.train.targets.identities


def open_sources(data: DataRecipe, *, progress: bool = False) -> Sources:
    """Opens both splits, preparing them first where that has not been done.

    Args:
        data: of the recipe.
        progress: whether a preparation shows bars and its table.

    Raises:
        InputError: the splits have different classes, or the data cannot be used as it is.
    """
    train, evaluation = (
        open_split(data, split, progress=progress) for split in (data.train_split, data.eval_split)
    )
    if train.class_names != evaluation.class_names:
        only = sorted(set(train.class_names) ^ set(evaluation.class_names))
        raise InputError(
            f"{data.train_split} and {data.eval_split} have different classes "
            f"({', '.join(only) or 'in another order'}); both must list the same categories"
        )
    return Sources(train, evaluation)


def open_split(data: DataRecipe, split: str, *, progress: bool = False) -> Split:
    """Opens one split, preparing it first where that has not been done.

    Raises:
        InputError: the data cannot be used as it is.
    """
    source = open_dataset(
        data.path, split, data.prepared, skip_broken=data.skip_broken, progress=progress
    )
    return first_images(source, data.first) if data.first else source


def example_order(recipe: Recipe, source: Split) -> Sequence[int] | None:
    """The order of the training images, if it is not a permutation for each epoch.

    Raises:
        InputError: image weights are asked for, and no image shows an object.
    """
    if not recipe.data.image_weights:
        return None
    weights = image_weights(all_objects(source), len(source.class_names))
    return WeightedOrder(weights, recipe.seed)


def warnings(sources: Sources) -> list[str]:
    """A sentence for each split in which there is nothing to learn or to find, and one if they are
    the same.
    """
    purposes = (sources.train, "learn from"), (sources.evaluation, "find")
    name = sources.train.split
    same = [
        f"warning: the split {name!r} is both trained and evaluated on, so that AP says how well "
        "it is known by heart; give another with --config.data.eval_split=NAME"
    ]
    return (same if name == sources.evaluation.split else []) + [
        f"warning: no image of the split {split.split!r} has an object to {purpose} (crowd regions "
        "do not count); look at its annotations"
        for split, purpose in purposes
        if not len(some_objects(split, MOST_IMAGES, seed=0).labels)
    ]
