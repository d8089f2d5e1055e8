"""What the page shows: the network runs once for a picture, and boxes lie where they were found."""

import re

import cv2
import numpy as np
import pytest

from tests.support.grid_detector import CLASS, SCORE, grid_detector
from tests.support.saved_run import META
from yolor_jax.demo import markup
from yolor_jax.demo.showing import PIECES, Showing
from yolor_jax.errors import InputError
from yolor_jax.runs.found import Found
from yolor_jax.runs.trained import Trained


@pytest.fixture(scope="module")
def trained():
    """A network that sees an object of one class in each of the 64 cells of its finest level."""
    module, variables = grid_detector()
    return Trained(module.spec, variables, META)


@pytest.fixture(scope="module")
def showing(trained):
    return Showing(trained)


def encoded(height=64, width=64, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_the_network_runs_once_for_a_picture(showing, monkeypatch):
    looked = []
    look = showing._finder.look
    monkeypatch.setattr(showing._finder, "look", lambda *a, **k: looked.append(k) or look(*a, **k))
    picture, other = encoded(), encoded(seed=1)
    shown = showing.show(picture, SCORE - 0.01, 0.45, [])
    assert "64 objects" in shown.pieces[0] and (shown.height, shown.width) == (64, 64)
    assert "0 objects" in showing.show(picture, SCORE + 0.01, 0.45, []).pieces[0]
    assert "64 objects" in showing.show(picture, SCORE - 0.01, 0.9, [CLASS]).pieces[0]
    assert "0 objects" in showing.show(picture, 0.1, 0.45, [CLASS + 1]).pieces[0]
    assert looked == [{"implicit": True}, {"implicit": False}]
    showing.show(other, 0.1, 0.45, [])
    showing.show(picture, 0.1, 0.45, [])
    assert len(looked) == 4


def test_sides(showing, trained):
    pieces = showing.show(encoded(), 0.1, 0.45, []).pieces
    assert len(pieces) == 2 * PIECES == len(showing.nothing)
    assert "with implicit knowledge" in pieces[0] and "without" in pieces[PIECES]
    assert [i for i in range(2 * PIECES) if i not in showing.moving] == [1, 1 + PIECES]
    assert pieces[1] == pieces[1 + PIECES]
    folded = Showing(trained.folded())
    [caption, _, overlay, _] = folded.show(encoded(), 0.1, 0.45, []).pieces
    assert "64 objects" in caption and "alone" not in overlay


def test_no_picture_is_refused_and_not_remembered(showing):
    for _ in range(2):
        with pytest.raises(InputError, match="no image of a known format"):
            showing.show(b"hello", 0.1, 0.45, [])


def found(*boxes, names=("cat", "<b>&dog")):
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    labels = np.arange(len(boxes), dtype=np.int32) % len(names)
    return Found(boxes_xyxy, scores, labels, names, (1, 2))


def test_boxes_are_parts_of_the_picture_and_the_surest_is_on_top():
    two = found([20, 10, 60, 40], [150, 2, 200, 100])
    html = markup.overlay(two, 100, 200, np.array([False, True]))
    boxes = re.findall(
        r'class="([^"]*)" style="left:(.*?)%;top:(.*?)%;width:(.*?)%;height:(.*?)%', html
    )
    assert [(kinds, *map(float, parts)) for kinds, *parts in boxes] == [
        ("box alone inside leftwards", 75, 2, 25, 98),
        ("box", 10, 10, 20, 30),
    ]
    assert "&lt;b&gt;&amp;dog 0.50" in html and "<b>&dog" not in html
    assert markup.overlay(found(), 100, 200, np.zeros(0, bool)) == ""


def test_a_table_has_a_limit_and_names_no_markup():
    html = markup.table(found(*[[0, 1.25, 2, 3]] * (markup.ROWS + 2)))
    assert html.count("<tr>") == markup.ROWS + 1 and "and 2 more" in html
    assert "<td>0.900</td><td>0.0</td><td>1.2</td><td>2.0</td><td>3.0</td>" in html
    assert "&lt;b&gt;&amp;dog</td>" in html
    assert markup.table(found()) == ""


@pytest.mark.parametrize(("shape", "shown"), [((3000, 10, 3), (1280, 4)), ((9, 7, 3), (9, 7))])
def test_a_picture_is_no_larger_than_it_need_be(shape, shown):
    import base64

    html = markup.picture(np.full(shape, 200, np.uint8))
    data = base64.b64decode(re.search(r'base64,([^"]+)"', html)[1])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == shown and abs(int(image.mean()) - 200) < 3
