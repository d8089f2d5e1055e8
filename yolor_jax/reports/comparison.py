"""What stands on the page of several runs or evaluations, side by side; the first is the measure.

```python
page = contents([gather(path) for path in paths])
page["numbers"]     # a row for each number: value of each, and its difference from the first
```
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolor_jax.errors import MENDABLE, sentence
from yolor_jax.evaluation.coco import NUMBERS
from yolor_jax.reports import comparison_charts, report
from yolor_jax.reports.gather import Subject
from yolor_jax.reports.photos import Photo, photos
from yolor_jax.reports.seeds import Group, by_recipe, spread
from yolor_jax.runs.sources import open_split
from yolor_jax.stamp import described

MOST_IMAGES = 9


class Row(NamedTuple):
    """A number of each subject.

    Attributes:
        name: of the number, or of what it is of.
        means: what it says.
        values: 0..1, None where there is nothing to measure.
        differences: from the first; None where either has none.
    """

    name: str
    means: str
    values: Sequence[float | None]
    differences: Sequence[float | None]


def contents(subjects: Sequence[Subject]) -> dict[str, Any]:
    """All that the template ``comparison.html`` shows."""
    names = distinct_names(subjects)
    doubts = [f"{name}: {doubt}" for name, one in zip(names, subjects, strict=True)
              for doubt in one.doubts]  # fmt: skip
    groups = by_recipe(subjects, names)
    return {
        "title": " beside ".join(names) if len(names) < 4 else f"{len(names)} runs side by side",
        "names": names,
        "subjects": subjects,
        "numbers": numbers(subjects),
        "unlike": unlike(subjects, names),
        "groups": groups if len(groups) < len(subjects) else [],
        "seeds": seed_rows(groups),
        "charts": comparison_charts.numbers_and_errors(subjects, names, groups),
        "course": comparison_charts.courses(subjects, names),
        "classes": classes(subjects),
        "images": _images(subjects, doubts),
        "settings": settings(subjects),
        "made": made(subjects),
        "next": report.commands_for(subjects),
        "doubts": doubts,
    }


def distinct_names(subjects: Sequence[Subject]) -> list[str]:
    """A short name for each: its folder, with as much of its path as tells them apart."""
    for parts in range(1, max(len(one.path.parts) for one in subjects) + 1):
        names = ["/".join(one.path.parts[-parts:]) for one in subjects]
        if len(set(names)) == len(names):
            return names
    return [str(one.path) for one in subjects]


def numbers(subjects: Sequence[Subject]) -> list[Row]:
    """COCO's numbers and those of further tasks, of all that any evaluation has."""
    metrics = [one.evaluation.metrics if one.evaluation else {} for one in subjects]
    return [
        _row(name, means, [one.get(name) for one in metrics])
        for name, means in report.MEANINGS
        if any(name in one for one in metrics)
    ]


def seed_rows(groups: Sequence[Group]) -> list[tuple[str, list[Any]]]:
    """By name of a number, its mean and deviation over the seeds of each group."""
    rows = []
    for name, _ in NUMBERS:
        spreads = [
            spread([one.evaluation.metrics.get(name) for one in group.subjects if one.evaluation])
            for group in groups
        ]
        rows.append((name, spreads))
    return rows


def unlike(subjects: Sequence[Subject], names: Sequence[str]) -> list[tuple[str, str]]:
    """How each was evaluated, if not all were in the same way."""
    lines = [one.evaluation.described() if one.evaluation else "nothing" for one in subjects]
    ways = [
        (
            one.evaluation.record["data"],
            one.evaluation.record["split"],
            one.evaluation.record["mode"],
        )
        for one in subjects
        if one.evaluation
    ]
    alike = len(ways) == len(subjects) and all(way == ways[0] for way in ways)
    return [] if alike else list(zip(names, lines, strict=True))


def classes(subjects: Sequence[Subject]) -> list[Row]:
    """AP of each class, if all have the same classes."""
    analyses = [one.evaluation.analysis for one in subjects if one.evaluation]
    listed = [[one.name for one in analysis.classes] for analysis in analyses]
    if len(analyses) < len(subjects) or any(some != listed[0] for some in listed):
        return []
    rows = zip(*(analysis.classes for analysis in analyses), strict=True)
    return [_row(row[0].name, f"{row[0].objects:,}", [one.ap for one in row]) for row in rows]


def settings(subjects: Sequence[Subject]) -> list[tuple[str, list[str]]]:
    """The settings that are not the same in all recipes."""
    recipes = [dict(report.flat(one.recipe)) if one.recipe else {} for one in subjects]
    return _differing(recipes)


def made(subjects: Sequence[Subject]) -> list[tuple[str, list[str]]]:
    """Facts and stamps of each."""
    described_ = [
        dict(report.facts(one)) | dict(described(one.stamps[-1]) if one.stamps else [])
        for one in subjects
    ]
    names = dict.fromkeys(name for facts in described_ for name in facts)
    return [(name, [facts.get(name, "-") for facts in described_]) for name in names]


def _differing(columns: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, "-") for column in columns]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _row(name: str, means: str, values: Sequence[float | None]) -> Row:
    first = values[0]
    differences = [None if value is None or first is None else value - first for value in values]
    return Row(name, means, values, differences)


def _images(
    subjects: Sequence[Subject], doubts: list[str]
) -> list[tuple[Sequence[Photo], Sequence[float]]]:
    """The images whose F1 differs most: of each its photo with the boxes of each, and the F1."""
    lefts = [one.evaluation for one in subjects if one.evaluation]
    splits = {(left.record["data"], left.record["split"]) for left in lefts}
    if len(lefts) < len(subjects) or len(splits) > 1:
        return []
    f1 = [{one.image_id: one.f1 for one in left.analysis.images} for left in lefts]
    shared = set.intersection(*map(set, f1))

    def difference(image_id: int) -> float:
        return max(one[image_id] for one in f1) - min(one[image_id] for one in f1)

    order = sorted(shared, key=lambda image_id: (-difference(image_id), image_id))
    chosen = [image_id for image_id in order[:MOST_IMAGES] if difference(image_id) > 0]
    try:
        data = subjects[0].data()
        source = open_split(data, data.eval_split)
        shown = [photos(source, left, chosen) for left in lefts]
    except MENDABLE as error:
        doubts.append(f"the images cannot be shown: {sentence(error)}")
        return []
    return [
        (same, [one[image_id] for one in f1])
        for image_id, same in zip(chosen, zip(*shown, strict=True), strict=True)
    ]
