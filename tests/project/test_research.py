"""Each example of docs/research.md runs, by itself, as it stands."""

import pathlib
import re

import jax
import pytest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "research.md"
SECTION = re.compile(r"^## (.+?)\n.*?```python\n(.*?)```", re.M | re.S)
EXAMPLES = SECTION.findall(PAGE.read_text())


def test_every_section_has_an_example():
    assert len(EXAMPLES) == PAGE.read_text().count("\n## ") == PAGE.read_text().count("```python")


@pytest.mark.parametrize("lines", [pytest.param(lines, id=title) for title, lines in EXAMPLES])
def test_an_example_runs(lines):
    assert "assert" in lines or "1 / 0" in lines
    with jax.numpy_rank_promotion("allow"):  # as the reader's JAX is set
        exec(compile(lines, PAGE.name, "exec"), {"__name__": "example"})
