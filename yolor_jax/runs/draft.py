"""A recipe that leaves settings to the data, and how it becomes whole.

    draft = read_draft(own.get_config().to_dict())    # None where the data decide
    decided = decide(draft)
    decided.recipe, decided.said    # what was chosen, as flags

A batch size of "auto" is decided by the devices (`runs.largest_batch`). What is given stays as it
is, and what is decided after it follows from it. `runs.own_rules` has the rules.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from yolor_jax.data import split_names
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.preparation.dataset import find_splits
from yolor_jax.progress import Say, silent
from yolor_jax.runs import preflight
from yolor_jax.runs.largest_batch import largest_batch
from yolor_jax.runs.own_rules import RULES, Facts, facts_of
from yolor_jax.runs.recipe import AUTO, Recipe, load, read
from yolor_jax.training.processes.group import ALONE, ProcessGroup

TRAIN_SPLIT, EVAL_SPLIT = "data.train_split", "data.eval_split"
BATCH = "batch_size"

PROVISIONAL = {
    TRAIN_SPLIT: "train",
    EVAL_SPLIT: "val",
    "model.name": "yolor_nano",
    "image_size": 416,
    BATCH: 8,
    "epochs": 65.0,
    "data.max_targets": 32,
    "loss.classification": 8.0,
    "optim.learning_rate": 8e-3,
    "eval.every_epochs": 13.0,
}
"""What stands for an open setting until the data are there, so that all others can be checked."""


class Draft(NamedTuple):
    """A recipe that waits for its data.

    Attributes:
        recipe: with provisional values where they decide.
        open: the settings that they decide, by path such as "data.train_split".
        auto_batch: whether its batch size, one of the open settings, is the largest that fits.
    """

    recipe: Recipe
    open: frozenset[str]
    auto_batch: bool = False

    def asked(self) -> dict[str, Any]:
        """Its settings as they were given, for processes to compare; None or "auto" where open."""
        settings = self.recipe.to_dict()
        for path in self.open:
            section, _, name = path.rpartition(".")
            (settings[section] if section else settings)[name] = None
        return settings | ({BATCH: AUTO} if self.auto_batch else {})


class Decided(NamedTuple):
    """A recipe that is whole, and what to say of what was decided; None if all was given."""

    recipe: Recipe
    said: str | None


def read_draft(settings: Mapping[str, Any]) -> Draft:
    """The draft of nested settings, in which None leaves those of `PROVISIONAL` to the data, and
    "auto" the batch size to the devices.

    Raises:
        InputError: a setting is missing, unknown, of another type, or of no use; says which.
    """
    filled = copy.deepcopy(dict(settings))
    undecided = set()
    auto_batch = filled.get(BATCH) == AUTO
    if auto_batch:
        filled[BATCH] = None
    for path, value in PROVISIONAL.items():
        section, _, name = path.rpartition(".")
        part = filled.get(section) if section else filled
        if isinstance(part, dict) and name in part and part[name] is None:
            part[name] = value
            undecided.add(path)
    return Draft(read(filled), frozenset(undecided), auto_batch)


def continued(draft: Draft, workdir: Path) -> Draft:
    """A run that goes on has the batch that it began with, whatever is free on the devices now.

    Raises:
        InputError: the recipe of the run is damaged.
        OSError: it cannot be read.
    """
    if not draft.auto_batch:
        return draft
    try:
        begun = load(workdir)
    except FileNotFoundError:
        return draft
    recipe = _with(draft.recipe, BATCH, begun.batch_size)
    return Draft(recipe, draft.open - {BATCH})


def decide(
    draft: Draft,
    group: ProcessGroup = ALONE,
    *,
    say: Say = silent,
    progress: bool = False,
) -> Decided:
    """Opens the data where they decide anything, preparing them first if that has not been done.

    Args:
        draft: what is asked for.
        group: the processes of the run, connected.
        say: takes a sentence for each program that is compiled to find the largest batch.
        progress: whether a preparation shows bars and its table.

    Raises:
        InputError: the data cannot be used as they are, or are not the same in all processes.
    """
    if not draft.open:
        return Decided(draft.recipe, None)
    recipe = _with_splits(draft, group, progress=progress)
    facts = facts_of(preflight.open_sources(recipe.data, group, progress=progress).train)
    for path, rule in RULES.items():
        if path == BATCH and draft.auto_batch:
            recipe = _with(recipe, BATCH, _largest_batch(recipe, facts, group, say))
        elif path in draft.open:
            recipe = _with(recipe, path, rule(facts, recipe))
    flags = [f"--config.{path}={_get(recipe, path)}" for path in PROVISIONAL if path in draft.open]
    return Decided(recipe, f"{describe(facts)}; so these are chosen:\n  {' '.join(flags)}")


def describe(facts: Facts) -> str:
    """The facts in a clause."""
    said = (
        f"{facts.images:,} image{'s' * (facts.images != 1)}, {facts.long_side:.0f} pixels long; "
        f"{facts.classes} class{'es' * (facts.classes != 1)}; "
    )
    if not facts.objects:
        return said + "no boxes"
    side = facts.small * facts.long_side
    return (
        f"{said}up to {facts.objects} box{'es' * (facts.objects != 1)} on an image, one in twenty "
        f"smaller than {side:.0f} pixels"
    )


def _with_splits(draft: Draft, group: ProcessGroup, *, progress: bool) -> Recipe:
    """The recipe with splits that there are, by their names."""
    recipe, data = draft.recipe, draft.recipe.data
    if not draft.open & {TRAIN_SPLIT, EVAL_SPLIT}:
        return recipe
    splits = preflight.open_together(
        "splits",
        lambda: find_splits(data.path, data.prepared, progress=progress),
        lambda found: {"splits": ", ".join(found)},
        group,
        preflight.SAME_DATA,
    )
    if TRAIN_SPLIT in draft.open:
        train = split_names.for_training(splits)
        if train is None:
            raise InputError(
                f"{data.path} has the splits {', '.join(splits)}, and none of them is for "
                "training; give --config.data.train_split=NAME"
            )
        recipe = _with(recipe, TRAIN_SPLIT, train)
    if EVAL_SPLIT in draft.open:
        recipe = _with(recipe, EVAL_SPLIT, split_names.for_evaluation(splits))
    return recipe


def _largest_batch(recipe: Recipe, facts: Facts, group: ProcessGroup, say: Say) -> int:
    """The largest batch for the devices; the same in all processes."""
    return preflight.open_together(
        "batch",
        lambda: largest_batch(recipe, facts.classes, facts.images, say),
        lambda found: {"largest batch": str(found)},
        group,
        "Give --config.batch_size=N.",
    )


def _get(recipe: Recipe, path: str) -> Any:
    section, _, name = path.rpartition(".")
    return getattr(getattr(recipe, section) if section else recipe, name)


def _with(recipe: Recipe, path: str, value: Any) -> Recipe:
    section, _, name = path.rpartition(".")
    return recipe.with_changes(**({section: {name: value}} if section else {name: value}))
