"""Charts of an evaluation show its numbers; of what cannot be measured there is no chart."""

import re

import numpy as np
import pytest

from yolor_jax.evaluation.analysis import analyse
from yolor_jax.evaluation.coco import coco_metrics
from yolor_jax.reports import evaluation_charts as charts


def split(boxes, results, classes=2):
    """Analysis and metrics of boxes (class, left, score or None), 40 x 40, in one image each."""

    def rows(some):
        return [
            {"image_id": image, "category_id": label, "bbox": [left, 10, 40, 40], "id": number,
             "area": 1600, "iscrowd": 0, **({} if score is None else {"score": score})}
            for number, (image, label, left, score) in enumerate(some, 1)
        ]  # fmt: skip

    truth = {
        "images": [{"id": number} for number in (1, 2)],
        "categories": [{"id": number, "name": f"class<{number}>"} for number in range(classes)],
        "annotations": rows(boxes),
    }
    found = rows(results)
    return analyse(truth, found, score=0.5), coco_metrics(truth, found)


TRUE = [(1, 0, 10, None), (1, 1, 100, None), (2, 0, 10, None)]
FOUND = [(1, 0, 10, 0.9), (1, 0, 100, 0.8), (2, 0, 200, 0.3)]


@pytest.fixture(scope="module")
def some():
    return split(TRUE, FOUND)


def texts(svg):
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)", svg)]


def test_each_chart_says_of_what_it_is(some):
    analysis, metrics = some
    drawn = charts.evaluation_charts(analysis, metrics)
    titles = [chart.title for chart in drawn]
    assert titles == [
        "Precision over recall", "F1 over score", "Precision and recall over score",
        "What errors cost", "AP and AR by size", "Calibration", "Scores",
    ]  # fmt: skip
    assert all("IoU" in chart.note for chart in drawn)
    by_title = {chart.title: chart for chart in drawn}
    assert f"IoU 0.5: {100 * metrics['AP50']:.1f} %" in texts(by_title["Precision over recall"].svg)
    assert "matched: 1" in texts(by_title["Scores"].svg)
    assert "unmatched: 2" in texts(by_title["Scores"].svg)
    assert "none" in texts(by_title["AP and AR by size"].svg)  # no small objects
    gain = analysis.errors["classification"].delta_ap50
    assert f"{100 * gain:.1f}  (1)" in texts(by_title["What errors cost"].svg)
    error = 100 * analysis.calibration.expected_calibration_error
    assert f"{error:.1f} %" in by_title["Calibration"].note
    ids = re.findall(r'\bid="([^"]*)"', "".join(chart.svg for chart in drawn))
    assert len(ids) == len(set(ids))


def test_confusion(some):
    analysis, _ = some
    assert analysis.confusion == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    chart = charts.confusion_chart(analysis)
    cells = [text for text in texts(chart.svg) if text.isdigit()]
    assert cells == ["1", "1", "1"]
    assert charts.confusions(analysis) == [("class<1>", "class<0>", 1)]
    assert f"score {analysis.score:.2f}" in chart.note


def test_many_classes_have_no_legend():
    analysis, metrics = split(TRUE, FOUND, classes=80)
    curves = charts.evaluation_charts(analysis, metrics)[0].svg
    assert not [text for text in texts(curves) if "class" in text]
    assert not [text for text in texts(charts.confusion_chart(analysis).svg) if "class" in text]


@pytest.mark.parametrize(
    ("boxes", "found", "titles"),
    [
        ([], FOUND, {"Calibration", "Scores", "AP and AR by size"}),
        (TRUE, [], {"Precision over recall", "F1 over score", "Precision and recall over score",
                    "What errors cost", "AP and AR by size"}),
        ([], [], {"AP and AR by size"}),
    ],
)  # fmt: skip
def test_nothing_to_find_and_nothing_found(boxes, found, titles):
    analysis, metrics = split(boxes, found)
    drawn = charts.evaluation_charts(analysis, metrics)
    assert {chart.title for chart in drawn} == titles
    assert charts.confusions(analysis) == [] and charts.confusion_chart(analysis).svg


def test_means_leave_out_what_is_not_there():
    np.testing.assert_array_equal(
        charts._mean([[1.0, None, None], None, [0.5, 0.5, None]]), [0.75, 0.5, np.nan]
    )
    assert charts._mean([None]) is None
