"""What an ablation is: rows that change a recipe, each with several seeds, a run and folder each.

    table = find_table("table4")                 # of configs/ablations.py, or a file's
    table.rows["add_iFA"]                        # {"model.implicit": {"alignment": "add"}}
    words(table.rows["add_iFA"])                 # as settings of the command line
    standing(planned)                            # "missing", "begun" or "finished"

Runs of one seed are pairs: they start from the same weights, as far as shapes allow (Flax draws
each leaf by the path of its module), and see the same images in the same order with the same
augmentation (which depend on seed and step alone). So `runs.ablation_result` takes differences seed
by seed.
"""

import runpy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from yolor_jax import bucket
from yolor_jax.configs import ablations
from yolor_jax.errors import InputError
from yolor_jax.paths import Path, local_path
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.recipe import Recipe

Settings = Mapping[str, Any]
Standing = Literal["missing", "begun", "finished"]
LAST_FILE = ("pictures", "validation.png")
"""Of a run; when that is there, all is."""


class Table(NamedTuple):
    """Rows to compare.

    Attributes:
        name: of a table in ``configs/ablations.py``, or of a file.
        rows: by name what each changes of the recipe, by the names of the settings.
        baseline: the row that the others are compared with.
        recipe: ``RECIPE`` or ``RECIPE:ROW``, what the rows change.
        paper: AP of rows in percent, as somebody published it; may lack any.
    """

    name: str
    rows: Mapping[str, Settings]
    baseline: str
    recipe: str
    paper: Mapping[str, float]

    def of(self, names: Sequence[str]) -> "Table":
        """The table with these rows and the baseline alone.

        Raises:
            InputError: there is no such row; lists those that there are.
        """
        if unknown := [name for name in names if name not in self.rows]:
            raise InputError(
                f"{self.name} has no row {unknown[0]!r}; expected some of {', '.join(self.rows)}"
            )
        wanted = {self.baseline, *names}
        return self._replace(rows={n: v for n, v in self.rows.items() if n in wanted})


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


def find_table(name: str) -> Table:
    """A table of ``configs/ablations.py``, or that of a Python file.

    Args:
        name: of the table, or path of a file with ``ROWS`` and ``BASELINE``, and if need be
            ``RECIPE`` (quickstart) and ``PAPER``.

    Raises:
        InputError: there is no such table, or the file has no rows, or no baseline among them.
    """
    if name in ablations.TABLES:
        rows = {row: ablations.ROWS[row] for row in ablations.TABLES[name]}
        baseline, recipe = ablations.TABLES[name][0], ablations.recipe_of(name)
        return Table(name, rows, baseline, recipe, ablations.PAPER)
    path = local_path(name)
    if not (path.is_file() and path.suffix == ".py"):
        raise InputError(
            f"no table {name!r}; expected one of {', '.join(ablations.TABLES)}, or a Python file "
            "with ROWS and BASELINE"
        )
    return _table_of(name, runpy.run_path(str(path)))


def _table_of(name: str, given: Mapping[str, Any]) -> Table:
    """The table of a file's names."""
    rows, baseline = given.get("ROWS"), given.get("BASELINE")
    sound = isinstance(rows, Mapping) and all(isinstance(row, Mapping) for row in rows.values())
    if not sound or not rows:
        raise InputError(
            f"{name} has no rows; expected ROWS, a dictionary of the settings of each by its name, "
            """such as {"baseline": {"model.implicit": {}}}"""
        )
    if baseline not in rows:
        said = "none" if baseline is None else repr(baseline)
        raise InputError(
            f"{name} has no baseline: BASELINE is {said}; expected one of its rows, "
            f"{', '.join(rows)}"
        )
    if bad := [row for row in rows if not row.replace("-", "_").replace(".", "_").isidentifier()]:
        raise InputError(
            f"{name} has a row {bad[0]!r}; expected a name of letters, digits and _, for its folder"
        )
    if seeded := [row for row, settings in rows.items() if "seed" in settings]:
        raise InputError(
            f"the row {seeded[0]} of {name} sets the seed; expected --seeds to do that"
        )
    return Table(name, rows, baseline, given.get("RECIPE", "quickstart"), given.get("PAPER", {}))


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
    """What must be the same: the course of a run, its data, and how it is evaluated."""
    data = {"path": recipe.data.path, "eval_split": recipe.data.eval_split}
    evaluation = recipe.to_dict()["eval"]
    identity = recipe.identity()
    return identity | {"data": identity["data"] | data, "eval": evaluation}


def _flat(settings: Settings, section: str = "") -> dict[str, Any]:
    """Settings by dotted names; tuples as lists, as JSON gives them back."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and name != "implicit":
            flat |= _flat(value, f"{section}{name}.")
        else:
            flat[section + name] = [*value] if isinstance(value, tuple) else value
    return flat
