"""Runs of one recipe that differ by their seed alone: their mean, and how far they scatter.

```python
for group in by_recipe(subjects, names):
    group.name, spread([subject.evaluation.metrics["AP"] for subject in group.subjects])
```
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from yolor_jax.ablation.result import Estimate, estimate
from yolor_jax.reports.gather import Subject


class Group(NamedTuple):
    """Runs of one recipe, evaluated in one way.

    Attributes:
        name: of the first, and how many there are.
        subjects: one for each seed.
    """

    name: str
    subjects: Sequence[Subject]


def by_recipe(subjects: Sequence[Subject], names: Sequence[str]) -> list[Group]:
    """Groups those whose recipes differ by the seed alone; the rest are groups of one.

    Args:
        subjects: in the order of the groups.
        names: of each.
    """
    groups: dict[str, list[tuple[str, Subject]]] = {}
    for name, subject in zip(names, subjects, strict=True):
        groups.setdefault(_but_for_the_seed(subject), []).append((name, subject))
    return [
        Group(
            members[0][0] if len(members) == 1 else f"{members[0][0]} ({len(members)} seeds)",
            [subject for _, subject in members],
        )
        for members in groups.values()
    ]


def spread(values: Sequence[float | None]) -> Estimate | None:
    """Mean and deviation of the values that are there; None if none is."""
    return estimate([value for value in values if value is not None])


def _but_for_the_seed(subject: Subject) -> str:
    """What subjects of one group have in common; of one without a recipe, its own path."""
    left = subject.evaluation
    if subject.recipe is None or left is None:
        return str(subject.path)
    identity = {name: value for name, value in subject.recipe.identity().items() if name != "seed"}
    record = left.record
    seen = [record["data"], record["split"], record.get("mode"), left.step]
    return json.dumps([identity, seen], sort_keys=True)
