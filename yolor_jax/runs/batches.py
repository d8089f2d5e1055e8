"""The training batches of a recipe: one way to open them, for training and for its bench.

```python
read = batch_reader(recipe, sources.train)
with contextlib.closing(read(start=position, workers=recipe.data.workers)) as batches: ...
```
"""

import functools
from collections.abc import Callable, Iterator

import jax

from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import Reading, train_batches
from yolor_jax.data.recent import with_recent_partners
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split, example_order


def batch_reader(recipe: Recipe, source: Split) -> Callable[..., Iterator[Batch]]:
    """Opens this process's part of the training batches; each call opens them anew.

    Args:
        recipe: of the run.
        source: the split to train on.

    Returns:
        `train_batches` without what is still to say: ``start``, the examples consumed before, and
        ``workers``, the processes that make batches beside this one.

    Raises:
        InputError: image weights are asked for, and no image shows an object.
    """
    order = example_order(recipe, source)

    partners = recipe.augment.carried - 1
    from_recent = partners and recipe.augment.partners == "recent"

    def read(*, start: int = 0, workers: int = 0) -> Iterator[Batch]:
        here = reading(recipe, workers=workers)
        read_from = functools.partial(
            train_batches,
            source,
            image_size=recipe.image_size,
            batch_size=recipe.batch_size,
            max_targets=recipe.data.max_targets,
            seed=recipe.seed,
            order=order,
            partners=0 if from_recent else partners,
            scaled_decode=recipe.data.scaled_decode,
            reading=here,
        )
        if not from_recent:
            return read_from(start=start)
        return with_recent_partners(
            lambda start: read_from(start=start),
            start=start,
            batch_size=recipe.batch_size,
            partners=partners,
            seed=recipe.seed,
            reading=here,
        )

    return read


def warning(recipe: Recipe) -> str | None:
    """What to say of partners that no mosaic is made with; None if there are none such."""
    augment = recipe.augment
    if augment.mosaic or augment.partners == "batch":
        return None
    return (
        f"warning: augment.partners is {augment.partners!r}, which has no effect where no image "
        "becomes a mosaic; give --config.augment.mosaic=1.0, or leave it out"
    )


def reading(recipe: Recipe, *, workers: int) -> Reading:
    """How this process reads its part of every batch, with ``workers`` processes beside it."""
    return Reading(jax.process_index(), jax.process_count(), recipe.data.threads, workers)
