"""The runs of an ablation: one for each row and seed, in a folder of its own, and how far each is.

    plan = [Planned("add_iFA", 0, folder, recipe, train), ...]
    standing(plan[0])                            # "missing", "begun" or "finished"

Runs of one seed are pairs: they start from the same weights, as far as shapes allow (Flax draws
each leaf by the path of its module), and see the same images in the same order with the same
augmentation (which depend on seed and step alone). So `ablation.result` takes differences seed by
seed.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from yolor_jax import bucket
from yolor_jax.ablation.table import Settings
from yolor_jax.errors import InputError
from yolor_jax.paths import Path
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.recipe import Recipe

Standing = Literal["missing", "begun", "finished"]
LAST_FILE = ("pictures", "validation.png")
"""Of a run; when that is there, all is."""


class Planned(NamedTuple):
    """A run of an ablation.

    Attributes:
        row: its name.
        seed: of the recipe.
        workdir: its folder.
        recipe: the whole of it.
        train: the words behind ``yolor train`` that start it, or go on with it.
    """

    row: str
    seed: int
    workdir: Path
    recipe: Recipe
    train: Sequence[str]

    @property
    def name(self) -> str:
        """``add_iFA, seed 0``."""
        return f"{self.row}, seed {self.seed}"


def words(settings: Settings) -> list[str]:
    """Settings as the command line has them."""
    return [f"--config.{name}={value}" for name, value in settings.items()]


def standing(planned: Planned) -> Standing:
    """How far a run is.

    Raises:
        InputError: the folder holds a run of other settings; says which.
        OSError: it cannot be read.
    """
    try:
        there = recipes.load(planned.workdir)
    except FileNotFoundError:
        return "missing"
    _require_same(planned, there)
    last = planned.workdir.joinpath(*LAST_FILE)
    with bucket.as_os_error(last):
        return "finished" if last.is_file() else "begun"


def _require_same(planned: Planned, there: Recipe) -> None:
    """Raises an InputError if a run that is there is of another course, or judged otherwise."""
    expected, found = (_flat(_judged(one)) for one in (planned.recipe, there))
    if planned.recipe.model.anchors == recipes.AUTO:  # a run keeps those that it has found
        expected["model.anchors"] = found["model.anchors"]
    differ = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if differ:
        name = differ[0]
        raise InputError(
            f"{planned.workdir} holds a run with {name} = {found.get(name)}, and "
            f"{expected.get(name)} is asked for; give that, or another --workdir"
        )


def _judged(recipe: Recipe) -> dict[str, Any]:
    """What must be the same: the course of a run, its data, and how it is evaluated; as JSON has
    it, for so the run keeps it.
    """
    data = {"path": recipe.data.path, "eval_split": recipe.data.eval_split}
    evaluation = recipe.to_dict()["eval"]
    identity = recipe.identity()
    judged = identity | {"data": identity["data"] | data, "eval": evaluation}
    return json.loads(json.dumps(judged))


def _flat(settings: Settings, section: str = "") -> dict[str, Any]:
    """Settings by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name != "implicit":
            flat |= _flat(value, f"{section}{name}.")
        else:
            flat[section + name] = value
    return flat
