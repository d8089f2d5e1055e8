"""Do the anchors fit the training data? What a run says before it starts, and what it may take.

```python
recipe, said = resolved(recipe, source, workdir)    # "auto" becomes a list
print(warning(recipe, source))                      # one paragraph, or nothing
```
"""

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from yolor_jax.data.objects import MOST_IMAGES, network_sizes, some_objects
from yolor_jax.detection.anchors import MIN_SIZE, find_anchors, measure
from yolor_jax.models.anchors import all_sizes, by_level
from yolor_jax.models.spec import ModelSpec
from yolor_jax.paths import Path
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import Split

GOOD_RECALL = 0.98
MOST_BOXES = 5000  # that anchors are looked for with


class Found(NamedTuple):
    """Anchors for a data set and the part of its boxes that match one."""

    anchors: list[list[list[float]]]
    recall: float


def resolved(recipe: Recipe, source: Split, workdir: Path) -> tuple[Recipe, str | None]:
    """The recipe with anchors that are known: those of the run in the workdir, or found anew.

    Returns:
        The recipe, and what to say of anchors that were found; None if none were asked for.

    Raises:
        InputError: there are fewer boxes than anchors.
    """
    if recipe.model.anchors != recipes.AUTO:
        return recipe, None
    earlier = None
    with contextlib.suppress(FileNotFoundError):
        earlier = recipes.load(workdir).model.anchors
    found = earlier or _find(recipe, _sizes(recipe, source)).anchors
    return recipe.with_changes(model={"anchors": found}), f"anchors found for these data: {found}"


def warning(recipe: Recipe, source: Split) -> str | None:
    """What to say of anchors that miss more than 2 % of the training boxes; None if they do not.

    A box whose sides differ from those of every anchor by more than ``recipe.loss.ratio_threshold``
    is no target of any cell, so that it is never learnt.
    """
    sizes_wh = _sizes(recipe, source)
    if not len(sizes_wh):
        return None
    recall = _recall(recipe, sizes_wh, all_sizes(recipe.spec))
    if recall >= GOOD_RECALL:
        return None
    said = (
        f"warning: the anchors of {recipe.model.name} match only {recall:.1%} of the "
        f"{len(sizes_wh):,} training boxes at {recipe.image_size} pixels; the others are never "
        f"learnt, and {GOOD_RECALL:.0%} is good."
    )
    try:
        found = _find(recipe, sizes_wh)
    except ValueError:
        return f"{said} There are too few boxes to find other anchors with."
    if found.recall <= recall:
        return (
            f"{said} Anchors found for these data match no more: many boxes may be too small at "
            "this size, or too elongated."
        )
    return (
        f"{said} Anchors found for these data match {found.recall:.1%}. To use them in a new "
        f'workdir: --config.model.anchors=auto, or --config.model.anchors="{found.anchors}"'
    )


def difference(given: ModelSpec, spec: ModelSpec, loaded: Iterable[str]) -> str | None:
    """What to say of weights to start from whose predictions belong to other anchors.

    Args:
        given: the model that they were trained with.
        spec: the model that starts from them.
        loaded: paths of the leaves that it takes.
    """
    predicts = any(path.startswith("params/head/") and path.endswith("kernel") for path in loaded)
    if not predicts or given.anchors == spec.anchors:
        return None
    theirs = [[list(size) for size in level] for level in given.anchors]
    return (
        "warning: these weights were trained with other anchors, so that the sizes they predict "
        f'are wrong at first. To take theirs: --config.model.anchors="{theirs}"'
    )


def _sizes(recipe: Recipe, source: Split) -> Float[np.ndarray, "N 2"]:
    """Width and height of the training boxes in pixels of the network input."""
    objects = some_objects(source, MOST_IMAGES, seed=recipe.seed)
    return network_sizes(objects, recipe.image_size)


def _recall(recipe: Recipe, sizes_wh: np.ndarray, anchors_wh: np.ndarray) -> float:
    threshold = recipe.loss.ratio_threshold
    return measure(sizes_wh, anchors_wh, ratio_threshold=threshold).best_possible_recall


def _find(recipe: Recipe, sizes_wh: np.ndarray) -> Found:
    """Anchors for boxes, by k-means and evolution; the same for the same boxes and seed."""
    spec = recipe.spec
    looked_at = sizes_wh[(sizes_wh >= MIN_SIZE).any(axis=1)]
    if len(looked_at) > MOST_BOXES:
        rng = np.random.default_rng(recipe.seed)
        looked_at = looked_at[rng.choice(len(looked_at), MOST_BOXES, replace=False)]
    anchors_wh = find_anchors(
        looked_at,
        len(all_sizes(spec)),
        seed=recipe.seed,
        ratio_threshold=recipe.loss.ratio_threshold,
    )
    anchors = by_level(anchors_wh, len(spec.strides))
    return Found(anchors, _recall(recipe, sizes_wh, np.array(anchors).reshape(-1, 2)))
