"""Curves are drawn where the numbers say, and from all rows of a run that was continued."""

import cv2
import numpy as np
import pytest

from yolor_jax.errors import InputError
from yolor_jax.pictures.chart import SHARP, chart, draw_lines
from yolor_jax.pictures.curves import HEIGHT, WIDTH, course, draw_curves
from yolor_jax.runs.curves import Curves
from yolor_jax.training.metrics import JsonLines

ROWS = [
    {"step": step, "loss/box": 1.0 / step, "learning_rate": 0.1}
    | ({"eval/AP": 0.1, "eval/AP50": 0.2} if step in (4, 8) else {})
    for step in range(1, 9)
]


def drawn(lines):
    """What is in the axes."""
    with chart(320, 180) as figure:
        axes = figure.subplots()
        draw_lines(axes, lines)
        return axes


def test_values_that_are_not_finite_and_empty_lines_are_left_out():
    lines = {"a": ([0, 5, 10], [1.0, np.nan, 2.0]), "b": ([], []), "c": ([3], [np.inf])}
    [line] = drawn(lines).get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[0, 1], [10, 2]])
    assert line.get_label() == "a 2"
    axes = drawn({"a": ([], [])})
    assert not axes.get_lines() and axes.texts[0].get_text() == "no values yet"


def test_noise_is_drawn_pale_under_its_mean():
    x = np.arange(1000)
    y = 5 + np.random.default_rng(0).standard_normal(1000)
    noise, mean = drawn({"a": (x, y)}).get_lines()
    assert noise.get_alpha() < 0.5 and mean.get_alpha() is None
    np.testing.assert_array_equal(noise.get_ydata(), y)
    np.testing.assert_allclose(mean.get_ydata()[[0, 500]], [y[:41].mean(), y[460:541].mean()])
    assert len(drawn({"a": (x, np.sin(x / 300))}).get_lines()) == 1, "a smooth line stays as it is"


def test_each_term_of_the_loss_has_a_chart_of_its_own():
    charts = course(ROWS)
    assert list(charts) == ["loss/box", "learning rate", "average precision"]
    assert charts["average precision"] == {"AP": ([4, 8], [0.1, 0.1]), "AP50": ([4, 8], [0.2, 0.2])}
    assert course([{"step": 1, "momentum": 0.9}]) == {}
    with pytest.raises(InputError, match="none of 1 rows has a loss"):
        draw_curves("nowhere.png", [{"step": 1, "momentum": 0.9}])


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
    picture = cv2.imread(str(picture))
    assert picture.shape == (2 * HEIGHT * SHARP / 72, 2 * WIDTH * SHARP / 72, 3)  # three charts
    draw_curves(tmp_path / "expected.png", ROWS)
    np.testing.assert_array_equal(picture, cv2.imread(str(tmp_path / "expected.png")))
