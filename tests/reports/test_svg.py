"""A chart is an element of a page: themed, with names of its own, and text that stays text."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from yolor_jax.pictures.chart import GRID, INK, MUTED, PALETTE
from yolor_jax.reports.svg import HEIGHT, VARIABLES, WIDTH, chart_id, page_chart


@pytest.fixture(scope="module")
def svg():
    with page_chart("first", 'AP <of "all">') as drawn:
        drawn.axes.plot([0, 1], [2, 3], color=PALETTE[1], marker="o", label="<b>")
        drawn.axes.fill_between([0, 1], [2, 3], color=PALETTE[0], alpha=0.5)
        drawn.axes.set_title("words & more")
        drawn.axes.legend()
    return drawn.svg


def test_it_is_one_sound_element_without_a_size_of_its_own(svg):
    element = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert element.tag == "svg" and element.get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    assert element.get("aria-label") == 'AP <of "all">'
    assert element.get("width") is None
    assert not re.search("<(style|metadata|title)", svg)
    texts = {text.text.strip() for text in element.iter("text")}
    assert {"words & more", "<b>"} <= texts


def test_colours_and_font_are_those_of_the_page(svg):
    assert "stroke: var(--series-1)" in svg and "fill: var(--series-0)" in svg
    assert "fill-opacity: 0.5" in svg
    assert not [color for color in VARIABLES if color in svg]
    assert {VARIABLES[color] for color in (INK, MUTED, GRID)} <= set(re.findall(r"--\w+", svg))
    assert "var(--font)" in svg and "DejaVu" not in svg


def test_names_are_its_own(svg):
    ids = re.findall(r'\bid="([^"]*)"', svg)
    used = re.findall(r'(?:href="#|url\(#)([^")]*)', svg)
    assert ids and all(name.startswith("first-") for name in ids)
    assert used and set(used) <= set(ids)


def test_the_same_chart_is_the_same_text():
    def draw():
        with page_chart("a", "b") as drawn:
            drawn.axes.bar([0, 1], [2, 3])
        return drawn.svg

    assert draw() == draw()


def test_a_name_of_words():
    assert chart_id("course", "loss: box") == "course-loss-box"
    assert (
        chart_id("implicit", "head/level0/implicit_after") == "implicit-head-level0-implicit_after"
    )
