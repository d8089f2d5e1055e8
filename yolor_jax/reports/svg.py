"""Charts as SVG inside a page that is light or dark.

    with page_chart("calibration", "Calibration") as drawn:
        drawn.axes.plot(...)
    Chart("Calibration", "IoU 0.5", drawn.svg)  # "<svg ...>", written into the page as it is

matplotlib draws in the colours of `pictures.chart`; each is written as a variable of the page's
style sheet, which decides. Text stays text, in the page's font.
"""

import contextlib
import dataclasses
import html
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from yolor_jax.pictures.chart import GRID, INK, MUTED, PALETTE, PAPER, chart

WIDTH, HEIGHT = 350, 250  # of a chart, in pixels of a page where it is shown at its own size
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--card",
} | {color: f"--series-{number}" for number, color in enumerate(PALETTE)}
"""The name that each colour has in the style sheet of the page."""


class Chart(NamedTuple):
    """A chart for a page.

    Attributes:
        title: what it shows.
        note: a sentence that says of what, with IoU and scores; may be empty.
        svg: the element.
    """

    title: str
    note: str
    svg: str


@dataclasses.dataclass
class Drawn:
    """A chart that is being drawn, and was when the context has ended.

    Attributes:
        axes: to draw on.
        svg: an element for a page.
    """

    axes: Axes
    svg: str = ""


@contextlib.contextmanager
def page_chart(
    name: str, label: str, *, width: int = WIDTH, height: int = HEIGHT
) -> Iterator[Drawn]:
    """A chart to draw on, which is an SVG element at the end.

    Args:
        name: unlike that of any other chart of the page; ids begin with it.
        label: what it shows, for those who cannot see it.
        width: in pixels.
        height: in pixels.
    """
    with chart(width, height) as figure:
        drawn = Drawn(figure.subplots())
        yield drawn
        drawn.svg = _element(figure, name, label)


def chart_id(*words: str) -> str:
    """A name for `page_chart`: the words with what an id may have."""
    return re.sub(r"\W+", "-", " ".join(words)).strip("-").lower()


def _element(figure: Figure, name: str, label: str) -> str:
    """The figure's SVG, for the inside of a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # A style element within an SVG of a page is one of the whole page.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"(font(?:-family)?: [^';]*)'[^;\"]*", r"\1var(--font)", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    size = re.search(r'viewBox="([^"]*)"', text)[1]
    head = f'<svg class="chart" role="img" aria-label="{html.escape(label)}" viewBox="{size}">'
    return re.sub(r"<svg [^>]*>", head, text, count=1)
