"""What is compared: rows by name, each some settings of a recipe, and the baseline among them.

```python
table = find_table("table4")                 # of configs/, or a file's
table.rows["add_iFA"]                        # {"model.implicit": {"alignment": "add"}}
table.of(["add_iFA"])                        # that row and the baseline alone
```
"""

import re
import runpy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolor_jax.configs import ablations, implicit_tuning
from yolor_jax.errors import InputError
from yolor_jax.paths import local_path

Settings = Mapping[str, Any]


class Table(NamedTuple):
    """Rows to compare.

    Attributes:
        name: of a table in ``configs/``, or of a file.
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


def find_table(name: str) -> Table:
    """A table of ``configs/ablations.py``, that of implicit tuning, or that of a Python file.

    Args:
        name: of the table, or path of a file with ``ROWS`` and ``BASELINE``, and if need be
            ``RECIPE`` (quickstart) and ``PAPER``.

    Raises:
        InputError: there is no such table, or the file cannot be run, has no rows, or no baseline
            among them.
    """
    if name in ablations.TABLES:
        rows = {row: ablations.ROWS[row] for row in ablations.TABLES[name]}
        baseline, recipe = ablations.TABLES[name][0], ablations.recipe_of(name)
        return Table(name, rows, baseline, recipe, ablations.PAPER)
    if name == implicit_tuning.RECIPE:
        return _table_of(name, vars(implicit_tuning))
    path = local_path(name)
    if not (path.is_file() and path.suffix == ".py"):
        raise InputError(
            f"no table {name!r}; expected one of {', '.join(ablations.TABLES)}, "
            f"{implicit_tuning.RECIPE}, or a Python file with ROWS and BASELINE"
        )
    try:
        given = runpy.run_path(str(path))
    except Exception as error:  # whatever a user's lines may raise
        raise InputError(f"{name} cannot be run: {type(error).__name__}: {error}") from error
    return _table_of(name, given)


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
            f"{', '.join(map(str, rows))}"
        )
    if bad := [row for row in rows if not re.fullmatch(r"\w[\w.-]*", str(row))]:
        raise InputError(
            f"{name} has a row {bad[0]!r}; expected a name of letters, digits, _, - and ., for its "
            "folder"
        )
    if seeded := [row for row, settings in rows.items() if "seed" in settings]:
        raise InputError(
            f"the row {seeded[0]} of {name} sets the seed; expected --seeds to do that"
        )
    paper = given.get("PAPER", {})
    sound = isinstance(paper, Mapping) and all(isinstance(ap, int | float) for ap in paper.values())
    if not sound:
        raise InputError(
            f"{name} has PAPER = {paper!r}; expected the AP in percent of rows by their names, "
            """such as {"baseline": 47.8}"""
        )
    rows = {str(row): settings for row, settings in rows.items()}
    return Table(name, rows, str(baseline), given.get("RECIPE", "quickstart"), paper)
