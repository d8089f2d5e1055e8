"""The twelve numbers: hand-worked, and the same by all libraries on real images."""

import copy
import json
import sys

import pytest

from tests.support.coco_boxes import box, noisy_detections, truth
from yolor_jax.evaluation.coco import BACKENDS, NUMBERS, coco_metrics, format_table, require_backend

NAMES = [name for name, _ in NUMBERS]
each = pytest.mark.parametrize("backend", sorted(BACKENDS))


@each
def test_hand_worked(backend):
    """One small and one medium object; a hit, a false alarm, and a hit with IoU 0.82.

    At the seven thresholds up to 0.80 the precisions are 1, 1/2, 2/3 at recalls 1/2, 1/2, 1, so
    the 51 recalls up to 0.5 count 1 and the other 50 count 2/3. At the three above, the 51 count.
    """
    ground_truth = truth(box(7, [0, 0, 10, 10], id=0), box(7, [100, 100, 50, 50], id=1))
    results = [
        box(7, [0, 0, 10, 10], score=0.9),
        box(7, [300, 300, 10, 10], score=0.8),
        box(7, [100, 100, 50, 41], score=0.7),
    ]
    loose, tight = (51 + 50 * 2 / 3) / 101, 51 / 101
    metrics = coco_metrics(ground_truth, results, backend=backend)
    assert metrics == pytest.approx(
        {
            "AP": (7 * loose + 3 * tight) / 10, "AP50": loose, "AP75": loose,
            "APs": 1.0, "APm": 0.7, "APl": None,
            "AR1": 0.5, "AR10": 0.85, "AR100": 0.85,
            "ARs": 1.0, "ARm": 0.7, "ARl": None,
        }
    )  # fmt: skip
    assert list(metrics) == NAMES
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@each
def test_crowds_are_ignored(backend):
    hit = box(7, [200, 200, 50, 50])
    in_the_crowd = [box(7, [x, 10, 20, 30], score=0.9) for x in (10, 40)]
    results = [*in_the_crowd, {**hit, "score": 0.5}]
    crowd = box(7, [0, 0, 100, 100], iscrowd=1)
    assert coco_metrics(truth(hit, crowd), results, backend=backend)["AP"] == pytest.approx(1.0)
    without = coco_metrics(truth(hit), results, backend=backend)["AP"]
    assert without == pytest.approx(1 / 3)


@each
def test_nothing_detected_and_nothing_there(backend):
    ground_truth = truth(box(7, [0, 0, 10, 10]), images=(7, 8))
    detections = [box(8, [0, 0, 10, 10], score=0.5)]
    nothing = dict.fromkeys(NAMES, None)
    small = {name: 0.0 for name in NAMES if name[-1] not in "ml"}
    assert coco_metrics(ground_truth, [], backend=backend) == {**nothing, **small}
    assert coco_metrics(ground_truth, detections, backend=backend) == {**nothing, **small}
    for results in ([], detections):
        assert coco_metrics(truth(images=(7, 8)), results, backend=backend) == nothing


@each
def test_a_false_alarm_on_an_empty_image_counts(backend):
    ground_truth = truth(box(7, [0, 0, 10, 10]), images=(7, 8))
    results = [box(8, [0, 0, 10, 10], score=0.9), box(7, [0, 0, 10, 10], score=0.5)]
    assert coco_metrics(ground_truth, results, backend=backend)["AP"] == pytest.approx(0.5)


def test_the_libraries_agree_on_real_images(shared, capfd):
    folder = shared / "data" / "coco128" / "annotations"
    ground_truth = json.loads((folder / "instances_val2017.json").read_text())
    results = noisy_detections(ground_truth)
    before = copy.deepcopy((ground_truth, results))
    assert any(a["iscrowd"] for a in ground_truth["annotations"])
    detected_in = {result["image_id"] for result in results}
    assert 100 < len(detected_in) < len(ground_truth["images"]), "some without a detection"

    fast = coco_metrics(ground_truth, results)
    slow = coco_metrics(ground_truth, results, backend="pycocotools")
    hot = coco_metrics(ground_truth, results, backend="hotcoco")
    assert fast == pytest.approx(slow, abs=1e-12)
    assert hot == pytest.approx(slow, abs=1e-12)
    assert 0.1 < fast["AP"] < fast["AP50"] < 0.9
    assert None not in fast.values()
    assert (ground_truth, results) == before, "an argument was changed"
    assert capfd.readouterr() == ("", ""), "the libraries must not print"


def test_the_libraries_agree_with_images_without_ground_truth(shared):
    folder = shared / "data" / "coco128" / "annotations"
    ground_truth = json.loads((folder / "instances_train2017.json").read_text())
    annotated = {a["image_id"] for a in ground_truth["annotations"]}
    assert len(annotated) < len(ground_truth["images"]), "no image without ground truth"
    results = noisy_detections(ground_truth)
    fast = coco_metrics(ground_truth, results)
    slow = coco_metrics(ground_truth, results, backend="pycocotools")
    hot = coco_metrics(ground_truth, results, backend="hotcoco")
    assert fast == pytest.approx(slow, abs=1e-12)
    assert hot == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        ([box(9, [0, 0, 1, 1], score=0.5)], r"a detection has image_id 9, .* none of the 1"),
        ([box(7, [0, 0, 1, 1], 2, score=0.5)], r"a detection has category_id 2, .* none of the 2"),
    ],
)
def test_foreign_ids_are_errors(results, sentence):
    with pytest.raises(ValueError, match=sentence):
        coco_metrics(truth(), results)


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"'cocoapi', expected one of faster-coco-eval, pycocot"):
        coco_metrics(truth(), [], backend="cocoapi")


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(ImportError, match=r"pip install yolor-jax\[hotcoco\], or evaluate with"):
        require_backend("hotcoco")


@each
def test_a_library_that_is_installed(backend, capfd):
    require_backend(backend)
    assert capfd.readouterr() == ("", ""), "the libraries must not print"


def test_table():
    trained = dict.fromkeys(NAMES, 0.5) | {"AP": 0.4567, "APs": None}
    lines = format_table({"trained": trained, "a folded one": dict.fromkeys(NAMES, 1.0)})
    heading, first, *rest = lines.splitlines()
    assert heading.split() == ["trained", "a", "folded", "one"]
    assert first.split()[0] == "AP" and first.split()[-2:] == ["45.7", "100.0"]
    assert rest[2].split()[0] == "APs" and rest[2].split()[-2:] == ["-", "100.0"]
    assert len({len(line) for line in lines.splitlines()}) == 1
    assert len(rest) == 11
