"""Curves are drawn where the numbers say, and from all rows of a run that was continued."""

import cv2
import numpy as np
import pytest

from yolor_jax.pictures import chart
from yolor_jax.pictures.curves import draw_curves
from yolor_jax.pictures.drawing import class_color
from yolor_jax.runs.curves import Curves
from yolor_jax.training.metrics import JsonLines


def colored(picture, number=0):
    """Rows and columns of the pixels in the colour of a line, below the title."""
    near = np.abs(picture.astype(int) - class_color(number)).max(-1) < 12
    near[: chart.TOP] = False
    return np.nonzero(near)


@pytest.mark.parametrize("values", [[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [-3.0, 2.0]])
def test_a_line_goes_from_its_first_to_its_last_value(values):
    picture = chart.line_chart({"a": ([0, 10], values)}, title="loss", x_name="steps")
    assert picture.shape == (chart.HEIGHT, chart.WIDTH, 3) and picture.dtype == np.uint8
    rows, columns = colored(picture)
    assert abs(columns.min() - chart.LEFT) < 8
    assert abs(columns.max() - (chart.WIDTH - chart.RIGHT)) < 8
    first, last = rows[columns < chart.LEFT + 6].mean(), rows[columns > columns.max() - 6].mean()
    assert np.sign(round((first - last) / 20)) == np.sign(values[1] - values[0])


def test_values_that_are_not_finite_and_empty_lines_are_left_out():
    picture = chart.line_chart(
        {"a": ([0, 5, 10], [1.0, np.nan, 2.0]), "b": ([], []), "c": ([3], [np.inf])},
        title="t", x_name="steps",
    )  # fmt: skip
    expected = chart.line_chart({"a": ([0, 10], [1.0, 2.0])}, title="t", x_name="steps")
    np.testing.assert_array_equal(picture, expected)
    assert not len(colored(chart.line_chart({"a": ([], [])}, title="t", x_name="steps"))[0])


def test_noise_is_drawn_pale_under_its_mean():
    x = np.arange(1000)
    y = 5 + np.random.default_rng(0).standard_normal(1000)
    rows, _ = colored(chart.line_chart({"a": (x, y)}, title="t", x_name="steps"))
    middle = (chart.TOP + chart.HEIGHT - chart.BOTTOM) / 2
    assert len(rows) and np.ptp(rows) < 60 and abs(rows.mean() - middle) < 40
    rows, _ = colored(chart.line_chart({"a": (x, np.sin(x / 300))}, title="t", x_name="steps"))
    assert np.ptp(rows) > 200  # a smooth line stays as it is


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 20000, [0, 5000, 10000, 15000, 20000]),
     (0.031, 0.068, [0.04, 0.05, 0.06]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)  # fmt: skip
def test_ticks_are_round_numbers(low, high, ticks):
    np.testing.assert_allclose(chart._ticks(low, high), ticks, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (12.346, "12.35"), (5000, "5k"), (25600, "25.6k"), (3e6, "3M")],
)
def test_numbers_are_short(value, text):
    assert chart._number(value) == text


def test_curves_are_of_all_rows_and_drawn_after_an_evaluation(tmp_path):
    rows, picture = tmp_path / "metrics.jsonl", tmp_path / "curves.png"
    for part in ((1, 5), (5, 9)):
        with JsonLines(rows, keep_until=part[0]) as writer:
            both = [writer, Curves(writer, picture)]
            for step in range(*part):
                for one in both:
                    one.write(step, {"loss/box": 1.0 / step, "learning_rate": 0.1, "momentum": 0.9})
                assert picture.exists() == (part[0] > 1)
            for one in both:
                one.write(step, {"eval/AP": 0.1, "eval/AP50": 0.2, "eval/ARmax1": 0.3})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]
    sheet = cv2.imread(str(picture))[..., ::-1]
    assert sheet.shape[0] > 2 * chart.HEIGHT and sheet.shape[1] > 2 * chart.WIDTH  # three charts
    expected = draw_curves([{"step": s, "loss/box": 1.0 / s, "learning_rate": 0.1} |
                            ({"eval/AP": 0.1, "eval/AP50": 0.2} if s in (4, 8) else {})
                            for s in range(1, 9)])  # fmt: skip
    np.testing.assert_array_equal(sheet, expected)
