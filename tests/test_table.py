"""Tables for the terminal."""

import pytest

from yolor_jax.table import text_table


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("", "trained", "folded"), ("parameters", "1,234", "9"), ("all", "1", "")]
    assert text_table(rows) == (
        "            trained  folded\nparameters    1,234       9\nall               1"
    )
    assert text_table(rows[1:], left=(0, 1)).splitlines()[1] == "all         1"


def test_rows_of_different_lengths_are_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        text_table([("a",), ("b", "c")])
