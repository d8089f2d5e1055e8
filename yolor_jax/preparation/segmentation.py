"""The boxes of annotations that have none: those around their segmentation.

A segmentation is, as in COCO, a list of polygons (``[x, y, x, y, ...]`` each), or runs
(``{"size": [height, width], "counts": [...]}``): lengths of background and object in turn, column
by column, as a list or packed in a text. Runs are unpacked here, where each number is checked; the
library of COCO trusts them.

    surrounding_box([[10, 10, 30, 10, 30, 25]])  # [10.0, 10.0, 20.0, 15.0]
    coco = add_boxes(coco, report)
"""

import itertools
import math

from yolor_jax.errors import InputError
from yolor_jax.preparation.report import Report

_LARGEST = 2**31  # of a run, or an area, in pixels


def add_boxes(coco: dict, report: Report) -> dict:
    """Computes the boxes that lack.

    Args:
        coco: what `annotations.parse` returned.
        report: counts the boxes that were computed.

    Returns:
        The same, with new entries for annotations with a segmentation and without a box. Where the
        segmentation is damaged, bbox is None and ``fault`` says why.
    """
    entries = []
    for position, entry in enumerate(coco["annotations"]):
        if isinstance(entry, dict) and not entry.get("bbox") and entry.get("segmentation"):
            where = f"annotations[{position}]"
            try:
                entry = {**entry, "bbox": surrounding_box(entry["segmentation"])}
                report.add("box from its segmentation", where)
            except InputError as error:
                entry = {**entry, "bbox": None, "fault": f"{where} has no bbox, and {error}"}
        entries.append(entry)
    return {**coco, "annotations": entries}


def surrounding_box(segmentation: object) -> list[int | float]:
    """Left, top, width and height of the box around a segmentation, in pixels.

    Raises:
        InputError: it is no segmentation, is damaged, or holds no pixel.
    """
    if isinstance(segmentation, dict):
        return _box_of_runs(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise InputError("its segmentation is neither a list of polygons nor an object of runs")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InputError("a polygon of its segmentation is no list of x and y of three points")
        if not all(_is_number(value) for value in polygon):
            raise InputError("a polygon of its segmentation holds something else than numbers")
    xs = [x for polygon in segmentation for x in polygon[::2]]
    ys = [y for polygon in segmentation for y in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _box_of_runs(segmentation: dict) -> list[int | float]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_length, size)):
        raise InputError("the size of its segmentation is no height and width")
    if isinstance(counts, str):
        counts = _unpack(counts)
    if not isinstance(counts, list) or not all(map(_is_length, counts)):
        raise InputError("the counts of its segmentation are no lengths")
    height, width = size
    if sum(counts) != height * width:
        raise InputError(
            f"the counts of its segmentation are of {sum(counts)} pixels, not of {height} x {width}"
        )
    ends = list(itertools.accumulate(counts))
    columns, rows = set(), set()
    for start, end in zip(ends[::2], ends[1::2], strict=False):  # [start, end) is object
        if start < end:
            first, last = start // height, (end - 1) // height
            columns |= {first, last}
            whole = first < last  # it goes on at the top of the next column
            rows |= {0, height - 1} if whole else {start % height, (end - 1) % height}
    if not columns:
        raise InputError("its segmentation holds no pixel")
    left, top = min(columns), min(rows)
    return [left, top, max(columns) + 1 - left, max(rows) + 1 - top]


def _unpack(text: str) -> list[int]:
    """Runs from their packed form: five bits a character, from the third on as differences."""
    counts, position = [], 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text) or not 0 <= (code := ord(text[position]) - 48) < 64:
                raise InputError("the counts of its segmentation are damaged")
            value |= (code & 0x1F) << shift
            more, position, shift = bool(code & 0x20), position + 1, shift + 5
            if not more and code & 0x10:
                value |= -1 << shift
            if shift > 35:
                raise InputError("the counts of its segmentation are damaged")
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
