"""Imports run down only: a file may import from its own layer's folder and from lower layers."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2] / "yolor_jax"
LAYERS = {
    "errors": -1,
    "boxes": 0, "table": 0, "trees": 0, "whole_file": 0,
    "nn": 1, "detection": 1, "tasks": 1, "data": 1,
    "models": 2, "augment": 2, "preparation": 2,
    "weights": 3, "inference": 3, "pictures": 3,
    "evaluation": 4, "export": 4,
    "training": 5,
    "runs": 6,
    "cli": 7,
}  # fmt: skip


def imported_rooms(path: pathlib.Path) -> set[str]:
    """The first-level names below ``yolor_jax`` that a file imports, at any depth of its code."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} relative import; write it in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {n.split(".")[1] for n in names if n.startswith("yolor_jax.")}
    return rooms


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_down(path):
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert own in LAYERS, f"{own} has no layer; give it one in the table above"
    wrong = [
        room for room in imported_rooms(path) if room != own and LAYERS.get(room, 99) >= LAYERS[own]
    ]
    assert not wrong, f"{path.name} in layer {LAYERS[own]} imports {wrong}"
