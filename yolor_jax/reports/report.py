"""What stands on the page of one run or of one evaluation.

```python
page = contents(gather(path))
page["cards"]  # name, value and meaning of each number of the headline
```
"""

import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from yolor_jax.errors import MENDABLE, sentence
from yolor_jax.evaluation.coco import NUMBERS
from yolor_jax.evaluation.tasks import IDENTITY_NUMBERS
from yolor_jax.evaluation.tasks import NUMBERS as TASK_NUMBERS
from yolor_jax.reports.evaluation_charts import (
    confusion_chart,
    confusions,
    evaluation_charts,
)
from yolor_jax.reports.gather import Left, Subject
from yolor_jax.reports.photos import Photo, photos
from yolor_jax.reports.run_charts import course_charts, drift_charts, implicit_charts, rank_charts
from yolor_jax.runs.recipe import Recipe
from yolor_jax.runs.sources import open_split
from yolor_jax.stamp import described

MEANINGS = tuple(
    (name, re.sub(r"\s{2,}", ", ", means))
    for name, means in (*NUMBERS, *TASK_NUMBERS.values(), *IDENTITY_NUMBERS)
)
"""The numbers of evaluations: name, and of what it is."""
WORST, BEST = 12, 6  # images of each kind
ORIGINAL = (
    ("precision", "precision", "confidence 0.1, IoU 0.50"),
    ("recall", "recall", "confidence 0.1, IoU 0.50"),
    ("F1", "f1", "confidence 0.1, IoU 0.50"),
    ("mAP@.5", "map50", "IoU 0.50, all scores"),
    ("mAP@.5:.95", "map", "IoU 0.50:0.95, all scores"),
    ("fitness", "fitness", "0.1 mAP@.5 + 0.9 mAP@.5:.95"),
)
"""The numbers of the original: its name, the field of `OriginalMetrics`, and of what it is."""
CLASS_COLUMNS = (
    ("class", "name of the class"),
    ("objects", "in the ground truth, without crowds"),
    ("images", "with an object of the class"),
    ("AP", "IoU 0.50:0.95"),
    ("AP50", "IoU 0.50"),
    ("AP75", "IoU 0.75"),
    ("AR100", "IoU 0.50:0.95, 100 detections per image"),
    ("APs", "IoU 0.50:0.95, area below 32² pixels"),
    ("APm", "IoU 0.50:0.95, between the two"),
    ("APl", "IoU 0.50:0.95, area above 96² pixels"),
    ("precision", "at the operating point, IoU 0.50"),
    ("recall", "at the operating point, IoU 0.50"),
    ("F1", "at the operating point, IoU 0.50"),
)
"""Columns of the table of classes: heading, and what it says when it is pointed at."""


def contents(subject: Subject) -> dict[str, Any]:
    """All that the template ``report.html`` shows; what is not there is empty or None."""
    doubts = list(subject.doubts)
    left = subject.evaluation
    groups = {} if left is None else _photos(subject, left, doubts)
    trained = subject.trained
    implicit = {} if trained is None else implicit_charts(trained)
    return {
        "title": title(subject),
        "path": str(subject.path),
        "cards": _cards(subject),
        "facts": facts(subject),
        "settings": [] if subject.recipe is None else flat(subject.recipe),
        "stamps": [described(stamp) for stamp in subject.stamps if stamp],
        "course": course_charts(subject.rows),
        "evaluation": None if left is None else _evaluation(left),
        "columns": CLASS_COLUMNS,
        "others": subject.evaluations[1:],
        "photos": groups,
        "implicit": implicit,
        "drift": drift_charts(subject.drift),
        "ranks": rank_charts(subject.ranks),
        "next": _next(subject),
        "doubts": doubts,
    }


def title(subject: Subject) -> str:
    """Which network, on what."""
    left = subject.evaluation
    if subject.recipe is not None:
        model, data = subject.recipe.model.name, subject.recipe.data.path
    else:
        model, data = left.record.get("model") or "detections", left.record["data"]
    return f"{model} on {pathlib.PurePath(data).name}"


def numbers(left: Left) -> list[tuple[str, str, float | None]]:
    """Name, meaning and value of each number of an evaluation."""
    return [(name, means, left.metrics[name]) for name, means in MEANINGS if name in left.metrics]


def facts(subject: Subject) -> list[tuple[str, str]]:
    """What was trained on what, and how far."""
    recipe, trained = subject.recipe, subject.trained
    if recipe is None:
        return []
    rows = subject.rows
    rates = [row["images_per_second"] for row in rows if "images_per_second" in row]
    implicit = recipe.model.implicit
    said = {
        "model": recipe.model.name,
        "implicit knowledge": "the model's own" if implicit is None else str(implicit or "none"),
        "tasks": ", ".join(("detect", *recipe.model.tasks)),
        "parameters": f"{_size(trained):,}" if trained else None,
        "classes": f"{len(trained.class_names)}" if trained else None,
        "image size": f"{recipe.image_size} pixels",
        "data": f"{recipe.data.path}: {recipe.data.train_split}, {recipe.data.eval_split}",
        "starts from": recipe.init or None,
        "length": f"{recipe.epochs:g} epochs, batches of {recipe.batch_size}",
        "last step": f"{rows[-1]['step']:,}" if rows else None,
        "seed": str(recipe.seed),
        "images per second": f"{sorted(rates)[len(rates) // 2]:.1f} (median)" if rates else None,
    }
    return [(name, value) for name, value in said.items() if value is not None]


def flat(recipe: Recipe) -> list[tuple[str, str]]:
    """All settings of a recipe by the names that the command line has for them."""

    def walk(settings: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
        found = []
        for name, value in settings.items():
            if isinstance(value, Mapping) and value and prefix + name != "model.implicit":
                found += walk(value, f"{prefix}{name}.")
            else:
                found.append((f"{prefix}{name}", str(value)))
        return found

    return walk(recipe.to_dict(), "")


def _cards(subject: Subject) -> list[tuple[str, str, str]]:
    """The headline: name, value, meaning."""
    cards = []
    left = subject.evaluation
    if left is not None:
        meanings = {name: means for name, means, _ in numbers(left)}
        chosen = ["AP", "AP50", "AP75", *(name for name in meanings if "/" in name)]
        cards += [(name, percent(left.metrics[name]), meanings[name]) for name in chosen]
        analysis = left.analysis
        if analysis.mean_f1_by_score is not None:
            f1 = float(np.interp(analysis.score, analysis.scores, analysis.mean_f1_by_score))
            cards.append(("F1", percent(f1), f"IoU {analysis.iou:.2f}, score {analysis.score:.2f}"))
    if subject.trained is not None:
        size = _size(subject.trained)
        short = f"{size / 1e6:.1f} M" if size >= 1e6 else f"{size / 1e3:.0f} k"
        cards.append(("parameters", short, subject.trained.spec.name))
    if subject.rows:
        step = subject.rows[-1]["step"]
        epochs = f"{subject.recipe.epochs:g} epochs asked for"
        cards.append(("steps", f"{step:,}", epochs))
    return cards


def percent(value: float | None) -> str:
    """With a decimal, as in papers; a dash where there is nothing to measure."""
    return "-" if value is None else f"{100 * value:.1f}"


def _size(trained: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(trained.variables["params"]))


def _evaluation(left: Left) -> dict[str, Any]:
    """The section of an evaluation."""
    return {
        "left": left,
        "numbers": numbers(left),
        "original": [
            (name, means, getattr(left.analysis.original, field)) for name, field, means in ORIGINAL
        ],
        "charts": evaluation_charts(left.analysis, left.metrics),
        "confusion": confusion_chart(left.analysis),
        "confusions": confusions(left.analysis),
        "analysis": left.analysis,
    }


def _photos(subject: Subject, left: Left, doubts: list[str]) -> dict[str, list[tuple[Photo, Any]]]:
    """The worst and the best images, each with its numbers; a doubt if they cannot be read."""
    images = left.analysis.images
    best = [one for one in reversed(images) if one.f1 > 0][:BEST]
    chosen = {"worst": images[:WORST], "best": best}
    try:
        data = subject.data()
        source = open_split(data, data.eval_split)
        return {
            name: list(zip(photos(source, left, [one.image_id for one in some]), some, strict=True))
            for name, some in chosen.items()
        }
    except MENDABLE as error:
        doubts.append(f"the images cannot be shown: {sentence(error)}")
        return {}


def _next(subject: Subject) -> list[tuple[str, str]]:
    """What to type next: commands, and what each does."""
    if subject.workdir is None:
        folder = shlex.quote(str(subject.path))
        return [(f"yolor report {folder} OTHER", "this evaluation beside another")]
    run = shlex.quote(str(subject.workdir))
    commands = [
        (f"yolor detect IMAGE... --checkpoint {run}", "find objects in images of your own"),
        (f"yolor demo {run}", "try it on a local page"),
        (f"yolor eval --workdir {run} --tta", "evaluate with test-time augmentation"),
        (f"yolor fold {run} folded.safetensors", "one file of weights, without implicit knowledge"),
        (f"yolor report {run} OTHER_RUN", "this run beside another"),
    ]
    if subject.evaluation is None:
        commands.insert(0, (f"yolor eval --workdir {run}", "evaluate; this page then has numbers"))
    return commands


def commands_for(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    """What to type after a comparison: the report of each."""
    paths = [shlex.quote(str(subject.path)) for subject in subjects]
    return [(f"yolor report {path}", "all of it, with its images") for path in paths]
