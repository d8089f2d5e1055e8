"""What the README and docs/ name exists: pages, commands with their flags, settings, modules."""

import ast
import importlib
import pathlib
import re
import shlex

import pytest

from docs import draw_floors
from yolor_jax.cli import main
from yolor_jax.configs import base

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def commands(page, program):
    """The command lines of a page's blocks that begin with a program, as lists of words."""
    for language, block in BLOCK.findall(page.read_text()):
        if language not in ("", "bash"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(program):
                words = shlex.split(line.split("&& ")[-1], comments=True)
                yield [word for word in words[len(program.split()) :] if word != "..."]


@each_page
def test_links_lead_to_files(page):
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).is_file(), f"{page.name} links to {target}"
    for name, folder in (("README.md", "docs/"), ("index.md", "")):
        for other in PAGES[1:] if page.name == name else []:
            is_there = f"({folder}{other.name})" in text or other == page
            assert is_there or other.name == "index.md", f"{name} has no link to {other.name}"


@each_page
def test_commands_are_understood(page, capsys):
    for words in commands(page, "yolor"):
        if {"...", "COMMAND"} & set(words):
            continue
        try:
            main._parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: yolor {shlex.join(words)}\n{capsys.readouterr().err}")


@each_page
@pytest.mark.parametrize("command", ["train", "eval"])
def test_flags_of_the_main_files_exist(page, command, capsys):
    for words in commands(page, f"python {command}_main.py"):
        try:
            main._parse([command, *words])
        except SystemExit:
            pytest.fail(f"{page.name}: {command}_main.py {shlex.join(words)}")


@each_page
def test_settings_and_recipes_exist(page):
    config = base.get_config()
    text = page.read_text()
    for path in re.findall(r"--config\.([a-z][a-z0-9_.]*[a-z0-9])", text):
        found = config
        for name in path.split("."):
            assert name in found, f"{page.name} names --config.{path}"
            found = found[name]
    for recipe in re.findall(r"configs/(\w+\.py)", text):
        assert (ROOT / "configs" / recipe).is_file(), f"{page.name} names configs/{recipe}"


@each_page
def test_imports_of_examples_work(page):
    if page.name == "extending.md":
        pytest.skip("its examples need the changes beside them: test_extending.py runs both")
    for language, block in BLOCK.findall(page.read_text()):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


def test_examples_of_docstrings_are_fenced_or_indented():
    """Otherwise the pages of the API have them as running text."""
    for path in sorted((ROOT / "yolor_jax").rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""
        paragraphs = [part for part in said.split("\n\n")[1:] if not part.startswith((" ", "```"))]
        assert not [part for part in paragraphs if _is_code(part)], path


def _is_code(text):
    """Whether it is Python that does something, and no sentence."""
    try:
        nodes = ast.walk(ast.parse(text))
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call | ast.Assign | ast.Attribute) for node in nodes)


@pytest.mark.parametrize("room", draw_floors.rooms())
def test_every_room_has_its_reference(room):
    pages = {page.name: page.read_text() for page in (ROOT / "docs" / "api").glob("*.md")}
    found = [name for name, text in pages.items() if f"::: yolor_jax.{room}\n" in text]
    assert len(found) == 1, f"no page in docs/api tells of yolor_jax.{room}"
    assert f"- api/{found[0]}\n" in (ROOT / "mkdocs.yml").read_text()
    assert f"({found[0]})" in pages["index.md"], f"docs/api/index.md has no link to {found[0]}"
