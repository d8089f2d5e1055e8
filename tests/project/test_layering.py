"""Imports run down only, as the table of floors has it; the picture of the floors is of today."""

import pytest

from docs import draw_floors
from docs.draw_floors import LAYERS, ROOT

DRAW = "draw it anew: python docs/draw_floors.py"


@pytest.mark.parametrize("path", draw_floors.files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_down(path):
    own = draw_floors.room_of(path)
    assert own in LAYERS, f"{own} has no floor; give it one in docs/draw_floors.py"
    wrong = [
        room
        for room in draw_floors.imported_rooms(path)
        if room != own and LAYERS.get(room, 99) >= LAYERS[own]
    ]
    assert not wrong, f"{path.name} on floor {LAYERS[own]} imports {wrong}"


def test_the_picture_of_the_floors_is_of_today():
    """The lines of a room may have changed a little since; rooms, imports and words may not."""
    picture = draw_floors.PICTURE.read_text()
    drawn, lines = draw_floors.drawn_lines(picture), draw_floors.lines()
    assert drawn.keys() == lines.keys(), DRAW
    changed = {
        room: (drawn[room], count)
        for room, count in lines.items()
        if abs(count - drawn[room]) > max(50, 0.2 * count)
    }
    assert not changed, f"lines by room, drawn and today: {changed}; {DRAW}"
    today = draw_floors.draw(draw_floors.imports(), drawn, draw_floors.sentences())
    assert picture == today, DRAW


def test_a_picture_of_other_imports_is_another():
    imports, lines, says = draw_floors.imports(), draw_floors.lines(), draw_floors.sentences()
    picture = draw_floors.draw(imports, lines, says)
    assert draw_floors.drawn_lines(picture) == lines
    assert draw_floors.draw(imports | {"cli": set()}, lines, says) != picture
