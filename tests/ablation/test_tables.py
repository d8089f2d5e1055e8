"""Tables to compare: the paper's, and those of files; what they lack is said in a sentence."""

import pytest

from yolor_jax.ablation.plan import words
from yolor_jax.ablation.table import find_table
from yolor_jax.cli.recipes import read_recipe
from yolor_jax.configs import ablations, implicit_tuning
from yolor_jax.errors import InputError

FILE = """
RECIPE = "quickstart"
BASELINE = "none"
ROWS = {
    "none": {"model.implicit": {}},
    "slow": {"model.implicit": {"alignment": "add"}, "optim.learning_rate": 1e-3},
}
PAPER = {"none": 40.0}
"""


@pytest.mark.parametrize("name", ablations.TABLES)
def test_a_table_of_the_paper(name):
    table = find_table(name)
    assert [*table.rows] == [*ablations.TABLES[name]]
    assert table.baseline == ("JD" if name == "table3" else "baseline")
    assert table.rows[table.baseline] == {"model.implicit": {}}
    assert read_recipe(table.recipe, []).model.name.startswith("yolov4_csp")


def test_detection_is_all_tables_but_the_third():
    others = [ablations.TABLES[f"table{number}"] for number in (1, 2, 4, 5, 6)]
    assert {row for rows in others for row in rows} < {*ablations.TABLES["detection"]}
    assert not {*ablations.TABLES["detection"]} & {*ablations.TABLES["table3"]}


@pytest.mark.parametrize("row", ablations.ROWS)
def test_a_row_on_another_recipe(row):
    """As words of the command line it is the same model as in the paper's recipe, but its name."""
    paper = ablations.get_config(row).model.to_dict()
    model = read_recipe("quickstart", words(ablations.ROWS[row])).model
    assert model.name == "yolor_nano"
    assert (model.implicit, model.tasks) == (paper["implicit"], paper["tasks"])


def test_a_file(tmp_path):
    path = tmp_path / "rows.py"
    path.write_text(FILE)
    table = find_table(str(path))
    assert (table.baseline, table.recipe, table.paper) == ("none", "quickstart", {"none": 40.0})
    recipe = read_recipe(table.recipe, words(table.rows["slow"]))
    assert recipe.optim.learning_rate == 1e-3
    assert recipe.model.implicit == {"alignment": "add"}


def test_the_rows_of_implicit_tuning():
    """As words of the command line a row is the same recipe as by its name."""
    table = find_table("implicit_tuning")
    assert (table.baseline, [*table.rows]) == ("everything", [*implicit_tuning.ROWS])
    for row, settings in table.rows.items():
        given = ["--config.init=runs/quickstart"]
        named = read_recipe(f"implicit_tuning:{row}", given)
        assert read_recipe(table.recipe, [*given, *words(settings)]) == named
        assert named.optim.freeze == settings["optim.freeze"]


def test_some_rows_and_the_baseline():
    table = find_table("table4").of(["concat_iFA"])
    assert [*table.rows] == ["baseline", "concat_iFA"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("BASELINE = 'a'", "has no rows; expected ROWS, a dictionary"),
        ("ROWS = {}", "has no rows"),
        ("ROWS = {'a': 3}", "has no rows"),
        ("ROWS = {'a': {}}", "has no baseline: BASELINE is none; expected one of its rows, a"),
        ("ROWS = {'a': {}, 'b': {}}; BASELINE = 'c'", "BASELINE is 'c'; expected one of its"),
        ("ROWS = {'a/b': {}}; BASELINE = 'a/b'", "has a row 'a/b'; expected a name of letters"),
        ("ROWS = {'..': {}}; BASELINE = '..'", "has a row '..'; expected a name of letters"),
        ("ROWS = {1: {}}; BASELINE = 'a'", "expected one of its rows, 1"),
        ("ROWS = {'a': {}}; BASELINE = 'a'; PAPER = 47.8", "PAPER = 47.8; expected the AP"),
        ("ROWS = {'a': {}}; BASELINE = 'a'; PAPER = {'a': 'x'}", "expected the AP in percent"),
        ("ROWS = {", "rows.py cannot be run: SyntaxError: '{' was never closed"),
        (
            "ROWS = {'a': {'seed': 1}}; BASELINE = 'a'",
            "row a of .* sets the seed; expected --seeds",
        ),
    ],
)
def test_a_file_that_is_no_table(text, sentence, tmp_path):
    path = tmp_path / "rows.py"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        find_table(str(path))


def test_names_of_rows_may_begin_with_a_digit(tmp_path):
    (tmp_path / "rows.py").write_text("ROWS = {'1x1': {}, 2: {}}; BASELINE = 2")
    table = find_table(str(tmp_path / "rows.py"))
    assert [*table.rows] == ["1x1", "2"] and table.baseline == "2"


def test_what_there_is_not():
    with pytest.raises(InputError, match=r"no table 'table9'; expected one of table1, .*ROWS and"):
        find_table("table9")
    with pytest.raises(
        InputError, match=r"table1 has no row 'JDC'; expected some of baseline, add"
    ):
        find_table("table1").of(["add_iFA", "JDC"])
