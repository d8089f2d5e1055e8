"""Each change of docs/extending.md, applied to a copy of the package, does what its lines show."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^## (.+?)\n.*?```diff\n(.*?)```.*?```python\n(.*?)```", re.M | re.S)
CHANGES = [
    pytest.param(change, lines, id=title)
    for title, change, lines in SECTION.findall((ROOT / "docs" / "extending.md").read_text())
]


def changed(folder, change):
    """A copy of the package with a change in it."""
    shutil.copytree(ROOT / "yolor_jax", folder / "yolor_jax", ignore=lambda *_: {"__pycache__"})
    shutil.copytree(ROOT / "configs", folder / "configs")
    done = subprocess.run(
        ["git", "apply"], input=change, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, f"the change does not fit the code any more: {done.stderr}"
    return folder


def test_all_six_are_there():
    assert len(CHANGES) == 6


@pytest.mark.parametrize(("change", "lines"), CHANGES)
def test_a_change_fits_the_code(change, lines, tmp_path):
    folder = changed(tmp_path, change)
    for path in re.findall(r"^\+\+\+ b/(.+)$", change, re.M):
        compile((folder / path).read_text(), path, "exec")
        original = ROOT / path
        assert not original.exists() or original.read_text() != (folder / path).read_text()


@pytest.mark.long
@pytest.mark.parametrize(("change", "lines"), CHANGES)
def test_a_change_does_what_its_lines_show(change, lines, tmp_path):
    folder = changed(tmp_path, change)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    shown = f"import yolor_jax; assert yolor_jax.__file__.startswith({str(folder)!r})\n{lines}"
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
