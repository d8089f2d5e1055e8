"""Draws the floors of the package from its imports: ``python docs/draw_floors.py``.

Writes ``docs/floors.svg``: the rooms on their floors, and below them who imports whom. The floors
stand in `FLOORS`; all else is read from the source, so the picture says what is there.
`tests/project/test_layering.py` holds the imports to the floors, and the picture to the source.
"""

import ast
import pathlib
import re
import textwrap
from collections.abc import Iterator, Mapping

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "yolor_jax"
PICTURE = pathlib.Path(__file__).with_name("floors.svg")

# From the ground up. A room imports from rooms on lower floors only, never from its neighbours.
FLOORS = (
    ("ground", ("bucket", "errors")),
    ("places", ("paths",)),
    ("tools", ("boxes", "progress", "stamp", "table", "trees", "whole_file")),
    ("mathematics", ("nn", "detection", "tasks", "data")),
    ("models", ("models", "augment", "preparation")),
    ("use", ("weights", "inference", "pictures")),
    ("measure", ("evaluation", "beside", "exports")),
    ("training", ("training",)),
    ("recipes", ("configs",)),
    ("runs", ("runs",)),
    ("studies", ("ablation", "bench")),
    ("pages", ("reports", "demo")),
    ("commands", ("cli",)),
)
LAYERS = {room: floor for floor, (_, rooms) in enumerate(FLOORS) for room in rooms}


def files() -> list[pathlib.Path]:
    """The modules of the rooms; the front doors, which open to all of them, are none.

    The recipes lie beside the package, where they are edited, and are its room ``configs``.
    """
    doors = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
    inside = (path for path in PACKAGE.rglob("*.py") if path not in doors)
    return sorted({*inside, *(ROOT / "configs").glob("*.py")})


def room_of(path: pathlib.Path) -> str:
    """The first-level name below the package."""
    place = ROOT if path.is_relative_to(ROOT / "configs") else PACKAGE
    return path.relative_to(place).parts[0].removesuffix(".py")


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
        rooms |= {name.split(".")[1] for name in names if name.startswith("yolor_jax.")}
    return rooms


def imports() -> dict[str, set[str]]:
    """By room the rooms that it imports from, itself left out."""
    found: dict[str, set[str]] = {room: set() for room in rooms()}
    for path in files():
        room = room_of(path)
        found[room] |= imported_rooms(path) - {room}
    return found


def rooms() -> list[str]:
    """The rooms that are there, from the ground up."""
    there = {room_of(path) for path in files()}
    assert there <= set(LAYERS), f"{there - set(LAYERS)} has no floor; give it one in FLOORS"
    return [room for room in LAYERS if room in there]


def lines() -> dict[str, int]:
    """By room the lines of its files."""
    counts = dict.fromkeys(rooms(), 0)
    for path in files():
        counts[room_of(path)] += len(path.read_text().splitlines())
    return counts


def sentences() -> dict[str, str]:
    """By room the first sentence of its docstring."""
    found = {}
    for room in rooms():
        path = PACKAGE / room / "__init__.py"
        path = path if path.exists() else PACKAGE / f"{room}.py"
        docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
        first = " ".join(docstring.split("\n\n")[0].split())
        found[room] = re.split(r"(?<=\w)\.(?= |$)", first)[0].rstrip(".")
    return found


# Sizes in pixels.
WIDTH, MARGIN, LABEL = 960, 16, 104
GAP, LINE, CELL = 9, 14, 22
STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
.title { font-size: 17px; font-weight: 600 }
.small { font-size: 11.5px; fill: #52606d }
.room { font-size: 14px; font-weight: 600 }
.box { fill: #ffffff; stroke: #7b8794 }
.own { fill: #cbd2d9 }
.imports { fill: #2f6f9f }
.grid { stroke: #e4e7eb }
"""
TINTS = ("#f5f7fa", "#eaf2f8")


def draw(imports: Mapping[str, set[str]], lines: Mapping[str, int], says: Mapping[str, str]) -> str:
    """The picture.

    Args:
        imports: by room the rooms that it imports from.
        lines: by room.
        says: by room a sentence.
    """
    house, below = _house(lines, says)
    matrix, height = _matrix(imports, below + 24)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The floors of yolor_jax, drawn by docs/draw_floors.py</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *house,
        *matrix,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _house(lines: Mapping[str, int], says: Mapping[str, str]) -> tuple[list[str], int]:
    """The floors with their rooms, the highest on top; the elements and where they end."""
    parts = [_text(MARGIN, 28, "Rooms on their floors", "title")]
    parts.append(_text(WIDTH - MARGIN, 28, "lines of code", "small", anchor="end"))
    y = 42
    for number, (name, members) in reversed(list(enumerate(FLOORS))):
        members = [room for room in members if room in lines]
        if not members:
            continue
        space = WIDTH - 2 * MARGIN - LABEL
        width = (space - GAP) / len(members) - GAP
        wrapped = {room: _wrap(says[room], width) for room in members}
        box_height = 32 + LINE * max(1, *map(len, wrapped.values()))
        height = box_height + 2 * GAP
        parts.append(
            f'<rect x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" '
            f'fill="{TINTS[number % 2]}"/>'
        )
        parts.append(_text(MARGIN + 10, y + height / 2 - 3, f"{number}", "title"))
        parts.append(_text(MARGIN + 10, y + height / 2 + 14, name, "small"))
        for i, room in enumerate(members):
            x = MARGIN + LABEL + i * (width + GAP)
            box = f'x="{x:.0f}" y="{y + GAP}" width="{width:.0f}" height="{box_height}"'
            parts += [
                f'<g id="{room}" data-lines="{lines[room]}">',
                f'<rect class="box" {box} rx="5"/>',
                _text(x + 10, y + GAP + 20, room, "room"),
                _text(x + width - 10, y + GAP + 20, f"{lines[room]:,}", "small", anchor="end"),
                *(
                    _text(x + 10, y + GAP + 37 + LINE * j, words, "small")
                    for j, words in enumerate(wrapped[room])
                ),
                "</g>",
            ]
        y += height + 4
    return parts, y


def _wrap(words: str, width: float) -> list[str]:
    """A sentence in lines that fit a box."""
    return textwrap.wrap(words, int((width - 14) / 5.9), max_lines=4, placeholder=" ...") or [""]


def _matrix(imports: Mapping[str, set[str]], y: int) -> tuple[list[str], int]:
    """Who imports whom: a row for each room, a column for each; the elements and their end."""
    order = list(reversed([room for room in LAYERS if room in imports]))
    left, top = MARGIN + LABEL + 30, y + 116
    size = CELL * len(order)
    parts = [_text(MARGIN, y + 12, "Who imports whom", "title")]
    for floor in sorted(set(LAYERS.values())):
        places = [i for i, room in enumerate(order) if LAYERS[room] == floor]
        if places:
            start, height = top + CELL * places[0], CELL * len(places)
            parts.append(
                f'<rect x="{MARGIN}" y="{start}" width="{left - MARGIN + size}" '
                f'height="{height}" fill="{TINTS[floor % 2]}"/>'
            )
            parts.append(_text(MARGIN + 10, start + height / 2 + 4, f"{floor}", "small"))
    for i, room in enumerate(order):
        middle = i * CELL + CELL / 2
        parts.append(_text(left - 8, top + middle + 4, room, "small", anchor="end"))
        x, above = left + middle + 4, top - 8
        turned = f' transform="rotate(-60 {x:g} {above})"'
        parts.append(_text(x, above, room, "small", more=turned))
        parts.append(_square("own", left + i * CELL, top + i * CELL))
        for j, other in enumerate(order):
            if other in imports[room]:
                parts.append(_square("imports", left + j * CELL, top + i * CELL))
    for i in range(len(order) + 1):
        step = i * CELL
        parts.append(
            f'<path class="grid" d="M{left} {top + step}h{size}M{left + step} {top}v{size}"/>'
        )
    words = left + size + 28
    for i, line in enumerate(
        (
            "A row imports from the columns",
            "with a blue square.",
            "",
            "All squares are right of the",
            "diagonal, whose rooms are the",
            "row's own: imports run down only,",
            "and never to a neighbour.",
        )
    ):
        parts.append(_text(words, top + 16 + 17 * i, line, "small"))
    return parts, top + size + MARGIN


def _square(kind: str, x: float, y: float) -> str:
    return (
        f'<rect class="{kind}" x="{x + 5:g}" y="{y + 5:g}" width="{CELL - 10}" '
        f'height="{CELL - 10}" rx="2"/>'
    )


def _text(
    x: float, y: float, words: str, kind: str, *, anchor: str = "start", more: str = ""
) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        words = words.replace(character, entity)
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}"{more}>{words}</text>'


def drawn_lines(picture: str) -> dict[str, int]:
    """The lines by room that a picture was drawn with."""
    found: Iterator[re.Match] = re.finditer(r'<g id="(\w+)" data-lines="(\d+)">', picture)
    return {match[1]: int(match[2]) for match in found}


if __name__ == "__main__":
    PICTURE.write_text(draw(imports(), lines(), sentences()))
    print(f"wrote {PICTURE.relative_to(ROOT)}")
