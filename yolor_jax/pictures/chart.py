"""Charts in one style, by matplotlib's objects, without pyplot and its global state.

    with chart(640, 360) as figure:
        axes = figure.subplots()
        draw_lines(axes, {"AP": (steps, values)})
        figure.savefig("curves.png", dpi=SHARP)

Sizes are pixels of a page: a figure of 640 x 360 is that large as SVG, and twice that as a PNG of
`SHARP` dots per inch. Colours are those of `PALETTE`; whoever draws for light and dark puts others
in their place (`reports.svg`).
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Numbers = Sequence[float | int] | np.ndarray

INK, MUTED, GRID, PAPER = "#1c232d", "#69737f", "#dfe3e8", "#fdfdfe"
PALETTE = (
    "#2f6fde", "#e06c2b", "#1f9d74", "#b8479b", "#7d63d8", "#b98a12", "#1d9ab0", "#d64550",
)  # fmt: skip
DOTS = 72  # per inch, so that a point of matplotlib is a pixel of a page
SHARP = 2 * DOTS
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.formatter.limits": (-4, 6),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.constrained_layout.use": True,
    "figure.dpi": DOTS,
    "figure.facecolor": PAPER,
    "font.family": "sans-serif",
    "font.size": 11,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "savefig.facecolor": "auto",
    "svg.fonttype": "none",
    "svg.hashsalt": "yolor",
    "text.color": INK,
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 10.5,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 10.5,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}
NOISY = 4  # times its range that a line goes up and down


@contextlib.contextmanager
def chart(width: int, height: int) -> Iterator[Figure]:
    """A figure in our style, which holds while it is drawn on and saved.

    Args:
        width: in pixels of a page.
        height: likewise.
    """
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width / DOTS, height / DOTS))


def draw_lines(axes: Axes, lines: Mapping[str, tuple[Numbers, Numbers]]) -> None:
    """A line for each name, which the legend shows with its last value.

    A noisy line is pale, with its moving mean over it.

    Args:
        axes: where to; its title and names of axes are the caller's.
        lines: by name, x ascending, and y; values that are not finite are left out, and so is a
            line without values.
    """
    drawn = False
    for number, (name, (x, y)) in enumerate(lines.items()):
        x, y = _finite(x, y)
        if not len(x):
            continue
        drawn = True
        color, label = PALETTE[number % len(PALETTE)], f"{name} {y[-1]:.4g}"
        mean = _moving_mean(y)
        if mean is not None:
            axes.plot(x, y, color=color, alpha=0.3, linewidth=1)
            y = mean
        marker = "o" if len(x) <= 40 else ""
        axes.plot(x, y, color=color, marker=marker, markersize=3.5, label=label)
    if drawn:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no values yet", color=MUTED, ha="center", transform=axes.transAxes)
    axes.margins(x=0.02)


def _finite(x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def _moving_mean(y: np.ndarray) -> np.ndarray | None:
    """The mean over a twelfth of the line around each point; None of a line that is smooth."""
    window = len(y) // 25
    if window < 3 or np.abs(np.diff(y)).sum() <= NOISY * np.ptp(y):
        return None
    ones = np.ones(2 * window + 1)
    return np.convolve(y, ones, "same") / np.convolve(np.ones_like(y), ones, "same")
