"""Kinds of error: hand-worked, one of each, and by plain loops on drawn boxes."""

import numpy as np
import pytest

from tests.support import slow_coco
from tests.support.coco_boxes import box, one_of_each_kind, random_case, truth
from yolor_jax.evaluation.columns import read_detections, read_objects
from yolor_jax.evaluation.error_kinds import KINDS, SPECIAL_KINDS, error_kinds
from yolor_jax.evaluation.matching import match


def kinds_of(ground_truth, results):
    matches = match(read_objects(ground_truth), read_detections(ground_truth, results))
    return error_kinds(matches, len(ground_truth["categories"]))


def test_one_of_each():
    """Class a alone has an AP; class b has none of its object right. With a's five objects a
    recall of n/5 is reached by 20 n + 1 of the 101 recalls, with four by 25 n + 1.
    """
    kinds = kinds_of(*one_of_each_kind())
    assert tuple(kinds) == KINDS + SPECIAL_KINDS
    counts = {name: kind.count for name, kind in kinds.items()}
    assert counts == dict.fromkeys(KINDS, 1) | {
        "missed": 2, "false_positive": 5, "false_negative": 4,
    }  # fmt: skip
    today = (21 + 20 * 2 / 6) / 202
    expected = {
        "classification": (21 + 20 * 2 / 4 + 20 * 3 / 7) / 202,
        "localisation": (21 + 20 * 2 / 3 + 20 * 3 / 6) / 202,
        "both": (21 + 20 * 2 / 5) / 202,
        "duplicate": (21 + 20 * 2 / 5) / 202,
        "background": (21 + 20 * 2 / 5) / 202,
        "missed": (26 + 25 * 2 / 6) / 101,  # class b has no object left
        "false_positive": 41 / 202,
        "false_negative": (51 + 50 * 2 / 6) / 101,
    }
    for name, kind in kinds.items():
        assert kind.ap50 == pytest.approx(expected[name]), name
        assert kind.delta_ap50 == pytest.approx(expected[name] - today), name


def test_only_the_best_of_an_object_is_mended_and_none_where_it_is_found():
    """Two errors of localisation about a missed object, one about an object that is found."""
    there, half = [0, 0, 30, 30], [0, 0, 30, 10]
    ground_truth = truth(box(7, there), box(8, there), images=(7, 8))
    results = [
        box(8, half, score=0.9),
        box(7, half, score=0.8),
        box(7, half, score=0.7),
        box(8, there, score=0.6),
    ]
    kinds = kinds_of(ground_truth, results)
    assert kinds["localisation"].count == 3
    assert kinds["localisation"].ap50 == pytest.approx(1.0)
    assert kinds["missed"].count == 0


def test_nothing_detected_and_nothing_there():
    ground_truth, results = one_of_each_kind()
    for kind in kinds_of({**ground_truth, "annotations": []}, results).values():
        assert kind.ap50 is None and kind.delta_ap50 is None
    empty = kinds_of(ground_truth, [])
    assert empty["missed"].count == empty["false_negative"].count == 6
    assert empty["missed"].ap50 is empty["missed"].delta_ap50 is None, "nothing is left to find"
    assert empty["background"].count == 0
    assert empty["background"].ap50 == empty["background"].delta_ap50 == 0


def slow_kinds(ground_truth, results):
    """Each kind's (count, mended AP50), object by object and detection by detection."""
    real = [a for a in ground_truth["annotations"] if not a.get("iscrowd")]
    pairs = slow_coco.match(ground_truth, results)
    found = [annotation for _, annotation in pairs if annotation is not None]
    is_found = lambda a: any(a is other for other in found)  # noqa: E731

    def highest(detection, same):
        """The highest IoU with an object of the same class, or of another, and the object."""
        best, about = 0.0, None
        for a in real:
            if a["image_id"] != detection["image_id"]:
                continue
            if (a["category_id"] == detection["category_id"]) == same:
                iou = slow_coco.iou(detection, a)
                if iou > best:
                    best, about = iou, a
        return best, about

    kinds, abouts = [], []
    for detection, annotation in pairs:
        (own, about_own), (other, about_other) = highest(detection, True), highest(detection, False)
        about = None
        if annotation is not None:
            kind = "right"
        elif 0.1 <= own < 0.5:
            kind, about = "localisation", about_own
        elif other >= 0.5:
            kind, about = "classification", about_other
        elif own >= 0.5:
            kind = "duplicate"
        elif other >= 0.1:
            kind = "both"
        else:
            kind = "background"
        kinds.append(kind)
        abouts.append(about)
    missed = [a for a in real if not is_found(a) and not any(a is about for about in abouts)]

    def ap50(rows, uncounted=()):
        objects = {
            category["id"]: sum(
                a["category_id"] == category["id"] and not any(a is u for u in uncounted)
                for a in real
            )
            for category in ground_truth["categories"]
        }
        return slow_coco.ap50(rows, objects)

    def rows(mended=(), removed=()):
        given = []
        for (detection, annotation), kind, about in zip(pairs, kinds, abouts, strict=True):
            if kind in removed:
                continue
            if kind not in mended:
                yield detection["category_id"], annotation is not None
            elif not is_found(about) and not any(about is other for other in given):
                given.append(about)
                yield about["category_id"], True

    unfound = [a for a in real if not is_found(a)]
    wrong = [kind for kind in kinds if kind != "right"]
    expected = {
        kind: (kinds.count(kind), ap50(list(rows(mended=[kind]))))
        for kind in ("classification", "localisation")
    } | {
        kind: (kinds.count(kind), ap50(list(rows(removed=[kind]))))
        for kind in ("both", "duplicate", "background")
    }
    expected["missed"] = len(missed), ap50(list(rows()), missed)
    expected["false_positive"] = len(wrong), ap50(list(rows(removed=wrong)))
    expected["false_negative"] = len(unfound), ap50(list(rows()), unfound)
    return expected


@pytest.mark.parametrize("seed", range(8))
def test_as_by_plain_loops(seed):
    ground_truth, results = random_case(seed)
    kinds = kinds_of(ground_truth, results)
    expected = slow_kinds(ground_truth, results)
    assert {name: kind.count for name, kind in kinds.items()} == {
        name: count for name, (count, _) in expected.items()
    }
    for name, (_, mended) in expected.items():
        assert kinds[name].ap50 == pytest.approx(mended, abs=1e-12), name
    right = np.count_nonzero([a is not None for _, a in slow_coco.match(ground_truth, results)])
    assert 0 < right < len(results)
    assert sum(count > 0 for count, _ in expected.values()) >= 7, "a poor case"
