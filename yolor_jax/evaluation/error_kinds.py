"""What kinds of error cost how much average precision, in the manner of TIDE.

    kinds = error_kinds(match(objects, detections), classes=80)
    kinds["localisation"].delta_ap50            # what better boxes would bring

A wrong detection is of the first kind that fits, by its highest IoU with an object of its own class
and with one of another, where F = 0.5 and B = 0.1:

- localisation: B <= IoU < F with its class;
- classification: F <= IoU with another class;
- duplicate: F <= IoU with its class, but a better detection has that object;
- both: B <= IoU < F with another class;
- background: IoU < B with all.

An object is missed if no detection is of it and no error of localisation or classification is about
it. Each kind is mended alone: a localisation or classification becomes right, but for the best one
of each object only, and only if nothing has that object; all others are taken away. Objects that
were missed are not counted. The two special kinds: all wrong detections are taken away; no object
that was not found is counted.

References:
    D. Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020,
    arXiv:2008.08115, section 2.2. It does not say which kind comes first where two fit; the order
    here is that of its authors' tool, which differs in one thing: an object that errors of both
    mendable kinds are about is given there to the better of them, also when the other is mended.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from yolor_jax.evaluation.average_precision import mean_average_precision
from yolor_jax.evaluation.matching import BACKGROUND_IOU, IOU, Matches, nearest

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
SPECIAL_KINDS = ("false_positive", "false_negative")


@dataclasses.dataclass(frozen=True)
class ErrorKind:
    """One kind of error.

    Attributes:
        count: how many there are.
        delta_ap50: what mending them alone adds to AP50; None where there is nothing to measure.
        ap50: the AP50 with them mended; None where no class has objects (that still count).
    """

    count: int
    delta_ap50: float | None
    ap50: float | None


def error_kinds(matches: Matches, classes: int) -> dict[str, ErrorKind]:
    """All kinds, by name.

    Args:
        matches: at IoU 0.5.
        classes: K.
    """
    label, right = matches.detections.label, matches.right
    found = matches.found
    everything = np.ones_like(found)

    def ap50(label, right, kept, counted) -> float | None:
        objects = np.bincount(matches.objects.label[counted], minlength=classes)
        return mean_average_precision(label[kept], right[kept], objects)

    def kind(which: Bool[np.ndarray, " n"], mended: float | None) -> ErrorKind:
        delta = None if mended is None or today is None else mended - today
        return ErrorKind(int(which.sum()), delta, mended)

    def corrected(errors, about) -> ErrorKind:
        mended = _best_about_free_objects(errors, about, found)
        new_label = label.copy()
        new_label[mended] = matches.objects.label[about[mended]]
        kept = right | mended | ~errors
        return kind(errors, ap50(new_label, right | mended, kept, everything))

    def removed(errors) -> ErrorKind:
        return kind(errors, ap50(label, right, ~errors, everything))

    def uncounted(objects) -> ErrorKind:
        return kind(objects, ap50(label, right, np.ones_like(right), ~objects))

    today = ap50(label, right, np.ones_like(right), everything)
    errors = _sorted_out(matches)
    covered = np.zeros_like(found)
    covered[errors.about_own[errors.localisation]] = True
    covered[errors.about_other[errors.classification]] = True
    return {
        "classification": corrected(errors.classification, errors.about_other),
        "localisation": corrected(errors.localisation, errors.about_own),
        "both": removed(errors.both),
        "duplicate": removed(errors.duplicate),
        "background": removed(errors.background),
        "missed": uncounted(~found & ~covered),
        "false_positive": removed(~right),
        "false_negative": uncounted(~found),
    }


class _Errors(NamedTuple):
    """Which detections are of which kind, and about which object of its class and of another."""

    localisation: Bool[np.ndarray, " D"]
    classification: Bool[np.ndarray, " D"]
    duplicate: Bool[np.ndarray, " D"]
    both: Bool[np.ndarray, " D"]
    background: Bool[np.ndarray, " D"]
    about_own: Int[np.ndarray, " D"]
    about_other: Int[np.ndarray, " D"]


def _sorted_out(matches: Matches) -> _Errors:
    """Wrong detections by the first kind that fits."""
    pairs, label = matches.pairs, matches.detections.label
    same = label[pairs.detection] == matches.objects.label[pairs.object]
    iou_own, about_own = nearest(pairs.where(same), len(label))
    iou_other, about_other = nearest(pairs.where(~same), len(label))
    rest = ~matches.right
    kinds = []
    for fits in (
        (BACKGROUND_IOU <= iou_own) & (iou_own < IOU),
        IOU <= iou_other,
        IOU <= iou_own,
        BACKGROUND_IOU <= iou_other,
    ):
        kinds.append(rest & fits)
        rest = rest & ~fits
    return _Errors(*kinds, rest, about_own, about_other)


def _best_about_free_objects(
    errors: Bool[np.ndarray, " D"], about: Int[np.ndarray, " D"], found: Bool[np.ndarray, " G"]
) -> Bool[np.ndarray, " D"]:
    """Of the errors about an object that nothing has found, the one with the highest score."""
    best = np.zeros_like(errors)
    candidates = np.flatnonzero(errors)
    candidates = candidates[~found[about[candidates]]]
    best[candidates[np.unique(about[candidates], return_index=True)[1]]] = True
    return best
