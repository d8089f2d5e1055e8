"""The rules by which data decide the settings that ``configs/own.py`` leaves to them.

    facts = facts_of(source)                        # 205 images, 3 classes, ...
    image_size(facts, recipe)                       # 416
    for name, rule in RULES.items(): ...            # see `runs.draft`

A rule sees the data and the recipe with all that is decided before it: whoever gives a batch size
gets the epochs for that. Each says why it is as it is; docs/recipes.md has the measurements.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from yolor_jax.data.objects import MOST_IMAGES, network_sizes, some_objects
from yolor_jax.runs.opening import load_meta
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split


class Facts(NamedTuple):
    """What decides, of the split to train on.

    Attributes:
        images: how many.
        classes: K.
        objects: on one image, at most; crowds do not count.
        long_side: of the images in pixels, the median.
        small: one box in twenty is smaller: the root of its area over the image's long side, 0..1;
            0 where there is no box.
    """

    images: int
    classes: int
    objects: int
    long_side: float
    small: float


def facts_of(source: Split) -> Facts:
    """The facts of a split."""
    objects = some_objects(source, MOST_IMAGES, seed=0)
    sides = np.sqrt(network_sizes(objects, 1).prod(axis=1))  # of boxes, by the image's long side
    return Facts(
        images=len(source),
        classes=len(source.class_names),
        objects=int(np.bincount(objects.image, minlength=1).max()),
        long_side=float(np.median(objects.size_hw.max(axis=1))),
        small=float(np.quantile(sides, 0.05)) if len(sides) else 0.0,
    )


def model_name(facts: Facts, recipe: Recipe) -> str:
    """That of the weights to start from; from scratch the smallest, which learns in minutes."""
    return load_meta(recipe.init)["model"] if recipe.init else "yolor_nano"


def image_size(facts: Facts, recipe: Recipe) -> int:
    """So large that of 95 boxes in 100 the side is 28 pixels or more, three to four cells of the
    finest level; not larger than the images, and 128 to 640.
    """
    stride = recipe.spec.strides[-1]
    wanted = min(28 / facts.small if facts.small else math.inf, facts.long_side)
    return round(min(max(wanted, 128), 640) / stride) * stride


def batch_size(facts: Facts, recipe: Recipe) -> int:
    """Eight, with which all was measured; no more than there are images."""
    return min(8, facts.images)


def epochs(facts: Facts, recipe: Recipe) -> float:
    """Steps enough to learn from few images, and more of them, but not as many times more, for
    many: 1,600 up to 200 images, growing with the root of their number; a third from weights.
    """
    steps = 1600 * math.sqrt(max(facts.images, 200) / 200)
    steps_per_epoch = max(facts.images // recipe.batch_size, 1)
    return float(math.ceil((steps / 3 if recipe.init else steps) / steps_per_epoch))


def every_epochs(facts: Facts, recipe: Recipe) -> float:
    """Five evaluations in all, the last at the end."""
    steps_per_epoch = max(facts.images // recipe.batch_size, 1)
    return math.ceil(round(recipe.epochs * steps_per_epoch) / 5) / steps_per_epoch


def max_targets(facts: Facts, recipe: Recipe) -> int:
    """Room for the fullest image, in eights."""
    return max(math.ceil(facts.objects / 8), 1) * 8


def classification(facts: Facts, recipe: Recipe) -> float:
    """0.3 for any number of classes; the setting is per 80 of them."""
    return 0.3 * 80 / facts.classes


def learning_rate(facts: Facts, recipe: Recipe) -> float:
    """Weights to start from bear smaller steps only."""
    return 2e-3 if recipe.init else 8e-3


Rule = Callable[[Facts, Recipe], Any]

RULES: dict[str, Rule] = {
    "model.name": model_name,
    "image_size": image_size,
    "data.max_targets": max_targets,
    "batch_size": batch_size,
    "epochs": epochs,
    "loss.classification": classification,
    "optim.learning_rate": learning_rate,
    "eval.every_epochs": every_epochs,
}
"""How each setting is decided, in this order."""
