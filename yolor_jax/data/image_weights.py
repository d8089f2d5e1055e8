"""Images with rare classes more often: an order of examples that training may follow.

The weight of a class is 1 / (number of its objects), that of an image the sum over its objects, and
images are drawn with replacement, in proportion to their weights. One epoch is as many draws as
there are images.

    order = WeightedOrder(image_weights(all_objects(source), num_classes), seed=0)
    batches = train_batches(source, order=order, ...)

The original also multiplies the weight of a class by (1 - AP)^2 after each evaluation. Here the
order is a function of the data and the seed alone, so that a run may be stopped and continued at
any example.
"""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from jaxtyping import Float

from yolor_jax.data.objects import Objects
from yolor_jax.errors import InputError


def image_weights(objects: Objects, num_classes: int) -> Float[np.ndarray, " N"]:
    """How often to draw each image; the weights sum to 1.

    Args:
        objects: of the N images of a split.
        num_classes: K.

    Raises:
        InputError: there are no objects.
    """
    if not len(objects.labels):
        raise InputError(
            "no image of the training split shows an object, so that none has a weight; switch "
            "image weights off, or check the annotations"
        )
    counts = np.bincount(objects.labels, minlength=num_classes)
    of_class = 1 / np.maximum(counts, 1)
    weights = np.bincount(
        objects.image, weights=of_class[objects.labels], minlength=len(objects.size_hw)
    )
    return weights / weights.sum()


class WeightedOrder(Sequence):
    """Positions in a split, endless: element ``i`` belongs to epoch ``i // N``.

    The draws of an epoch follow from the seed and its number alone.
    """

    def __init__(self, weights: Float[np.ndarray, " N"], seed: int):
        """An order.

        Args:
            weights: of the images, not negative; 0 for one that is never drawn.
            seed: of the draws.
        """
        cumulative = np.cumsum(weights)
        self._cumulative = cumulative / cumulative[-1]
        self._seed = seed
        self._latest = (-1, np.zeros(0, np.int64))

    def __len__(self) -> int:
        """As long as Python can count."""
        return 2**63 - 1

    def __getitem__(self, index: SupportsIndex) -> int:
        """The image to read as example ``index``; safe from several threads."""
        epoch, place = divmod(operator.index(index), len(self._cumulative))
        drawn_epoch, drawn = self._latest
        if drawn_epoch != epoch:
            drawn = self._draw(epoch)
            self._latest = (epoch, drawn)
        return int(drawn[place])

    def _draw(self, epoch: int) -> np.ndarray:
        draws = np.random.default_rng((self._seed, epoch)).random(len(self._cumulative))
        return np.searchsorted(self._cumulative, draws, side="right")
