"""Line charts, drawn by OpenCV, so that every user gets them without an extra.

    picture = line_chart({"AP": (steps, values)}, title="eval/AP", x_name="steps")
    save_image("curves.png", contact_sheet([picture, ...], cell=None))

Everything is drawn twice as large and then made smaller, which smooths lines and letters.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from yolor_jax.pictures.drawing import FONT, INK, WHITE, class_color

Numbers = Sequence[float | int] | np.ndarray

WIDTH, HEIGHT = 640, 360  # pixels of a chart
SHARP = 2  # times as large while it is drawn
LEFT, RIGHT, TOP, BOTTOM = 68, 18, 40, 46  # around the axes
GRID, MUTED = (228, 228, 231), (113, 113, 122)
TICKS = 5  # about so many on an axis
NOISY = 4  # times its range that a line goes up and down


class _Axes(NamedTuple):
    """From data to pixels of the large picture."""

    low: tuple[float, float]
    high: tuple[float, float]

    def pixels(self, x, y) -> np.ndarray:
        """[n, 2] int32."""
        across = (np.asarray(x, float) - self.low[0]) / (self.high[0] - self.low[0])
        up = (np.asarray(y, float) - self.low[1]) / (self.high[1] - self.low[1])
        left = LEFT + across * (WIDTH - LEFT - RIGHT)
        top = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
        return np.rint(SHARP * np.stack([left, top], -1)).astype(np.int32)


def line_chart(
    lines: Mapping[str, tuple[Numbers, Numbers]], *, title: str, x_name: str
) -> UInt8[np.ndarray, "h w 3"]:
    """A chart with a line for each name, from x = 0; a noisy line has its moving mean over it.

    Args:
        lines: by name, x ascending from 0 or more, and y; values that are not finite are left out.
        title: stands above, and beside it the last value of each line.
        x_name: stands below the horizontal axis.

    Returns:
        RGB, ``[HEIGHT, WIDTH, 3]``.
    """
    canvas = np.full((SHARP * HEIGHT, SHARP * WIDTH, 3), WHITE, np.uint8)
    kept = {name: _finite(*line) for name, line in lines.items()}
    kept = {name: line for name, line in kept.items() if len(line[0])}
    _write(canvas, title, (LEFT, 22), INK, 0.5)
    if not kept:
        _write(canvas, "no values yet", (LEFT, HEIGHT // 2), MUTED, 0.5)
        return _smaller(canvas)
    axes = _axes(kept)
    _grid(canvas, axes)
    middle = (LEFT + WIDTH - RIGHT - _width(x_name, 0.4)) // 2
    _write(canvas, x_name, (middle, HEIGHT - 8), MUTED, 0.4)
    right = WIDTH - RIGHT
    for number, (name, (x, y)) in reversed(list(enumerate(kept.items()))):
        color = class_color(number)
        _line(canvas, axes, x, y, color)
        text = f"{name if len(kept) > 1 else 'last'} {_number(y[-1])}"
        right -= _width(text, 0.42)
        _write(canvas, text, (right, 22), color, 0.42)
        right -= 14
    return _smaller(canvas)


def _finite(x, y) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    good = np.isfinite(x) & np.isfinite(y)
    return x[good], y[good]


def _axes(lines) -> _Axes:
    """Room for all points; a constant lies in the middle."""
    x, y = (np.concatenate([line[i] for line in lines.values()]) for i in (0, 1))
    low, high = float(y.min()), float(y.max())
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    bottom = max(low - margin, 0.0) if low >= 0 else low - margin
    return _Axes((0.0, bottom), (max(float(x.max()), 1.0), high + margin))


def _ticks(low: float | int, high: float | int) -> list[float | int]:
    """Round numbers between two others: 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    gap = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [gap * i for i in range(math.ceil(low / gap), math.floor(high / gap) + 1)]


def _grid(canvas, axes: _Axes) -> None:
    (x_low, y_low), (x_high, y_high) = axes
    for value in _ticks(y_low, y_high):
        start, end = axes.pixels([x_low, x_high], [value, value])
        cv2.line(canvas, start.tolist(), end.tolist(), GRID, SHARP)
        text = _number(value)
        spot = (LEFT - 8 - _width(text, 0.4), int(start[1]) // SHARP + 4)
        _write(canvas, text, spot, MUTED, 0.4)
    for value in _ticks(x_low, x_high):
        [spot] = axes.pixels([value], [y_low])
        text = _number(value)
        spot = (int(spot[0]) // SHARP - _width(text, 0.4) // 2, HEIGHT - BOTTOM + 18)
        _write(canvas, text, spot, MUTED, 0.4)


def _line(canvas, axes: _Axes, x, y, color) -> None:
    """The values; where they are noisy, pale and with their moving mean over them."""
    window = len(y) // 25
    if window >= 3 and np.abs(np.diff(y)).sum() > NOISY * np.ptp(y):
        pale = tuple(255 - (255 - part) // 3 for part in color)
        cv2.polylines(canvas, [axes.pixels(x, y)], False, pale, SHARP, cv2.LINE_AA)
        ones = np.ones(2 * window + 1)
        y = np.convolve(y, ones, "same") / np.convolve(np.ones_like(y), ones, "same")
    points = axes.pixels(x, y)
    cv2.polylines(canvas, [points], False, color, 2 * SHARP, cv2.LINE_AA)
    if len(points) <= 40:
        for point in points.tolist():
            cv2.circle(canvas, point, 3 * SHARP, color, -1, cv2.LINE_AA)


def _number(value: float | int) -> str:
    """At most four digits that matter; thousands and millions by their letters."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * size or (abs(value) >= size and value % size == 0):
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"


def _width(text: str, letters: float) -> int:
    return math.ceil(cv2.getTextSize(text, FONT, SHARP * letters, SHARP)[0][0] / SHARP)


def _write(canvas, text: str, spot: tuple[int, int], color, letters: float) -> None:
    place = (SHARP * spot[0], SHARP * spot[1])
    cv2.putText(canvas, text, place, FONT, SHARP * letters, color, SHARP, cv2.LINE_AA)


def _smaller(canvas) -> np.ndarray:
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
