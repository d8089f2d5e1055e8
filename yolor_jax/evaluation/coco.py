"""The twelve numbers of the COCO detection protocol, by any of three libraries.

AP is the mean over classes and over the IoU thresholds 0.50, 0.55 ... 0.95 of the precision at 101
recalls; AR is the mean of the highest recalls with 1, 10 or 100 detections per image. Boxes of a
crowd (``iscrowd``) are regions to ignore: what lies in them is neither right nor wrong. Small
means an area (of the object's outline, where known) below 32^2 pixels, large one above 96^2.

``faster-coco-eval``, ``pycocotools`` and ``hotcoco`` give the same numbers; the second is the one
that papers name, and the slowest (``yolor bench metrics``).

Example:
    >>> metrics = coco_metrics(source.ground_truth(), results)
    >>> print(format_table({"trained": metrics}))

References:
    T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014, and
    https://cocodataset.org/#detection-eval
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yolor_jax.errors import InputError
from yolor_jax.table import text_table

Metrics = dict[str, float | None]

# Name, and what the table says about it.
NUMBERS = (
    ("AP", "IoU 0.50:0.95  all     100 per image"),
    ("AP50", "IoU 0.50       all     100 per image"),
    ("AP75", "IoU 0.75       all     100 per image"),
    ("APs", "IoU 0.50:0.95  small   100 per image"),
    ("APm", "IoU 0.50:0.95  medium  100 per image"),
    ("APl", "IoU 0.50:0.95  large   100 per image"),
    ("AR1", "IoU 0.50:0.95  all       1 per image"),
    ("AR10", "IoU 0.50:0.95  all      10 per image"),
    ("AR100", "IoU 0.50:0.95  all     100 per image"),
    ("ARs", "IoU 0.50:0.95  small   100 per image"),
    ("ARm", "IoU 0.50:0.95  medium  100 per image"),
    ("ARl", "IoU 0.50:0.95  large   100 per image"),
)


def coco_metrics(
    ground_truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    backend: str = "faster-coco-eval",
) -> Metrics:
    """Compares detections with ground truth.

    Args:
        ground_truth: in COCO's format: ``images`` (id), ``categories`` (id), ``annotations``
            (image_id, category_id, bbox as left, top, width, height in pixels; ``iscrowd`` is 0 and
            ``area`` that of the box if missing). Annotation ids are not used, so they may start at
            0 or be missing. It is not changed.
        results: detections in COCO's format: image_id, category_id, bbox, score. All images of the
            ground truth count, also those without a detection. They are not changed.
        backend: "faster-coco-eval", "pycocotools" or "hotcoco".

    Returns:
        The twelve numbers, 0..1, by the names in ``NUMBERS``. None where the ground truth has
        nothing to measure (no object of that size; pycocotools says -1 there), so that the dict
        is valid JSON and no mean is taken over a number that is none.

    Raises:
        InputError: unknown backend, or an image or category which the ground truth does not have.
        ImportError: the library is not installed.
    """
    if backend not in BACKENDS:
        raise InputError(f"got backend {backend!r}, expected one of {', '.join(BACKENDS)}")
    return named(BACKENDS[backend](*prepared(ground_truth, results)))


def prepared(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> tuple[dict, dict]:
    """Copies of ground truth and detections with all that the libraries need.

    Raises:
        InputError: an image or category which the ground truth does not have.
    """
    images = [{"id": image["id"]} for image in ground_truth["images"]]
    categories = [{"id": c["id"], "name": str(c["id"])} for c in ground_truth["categories"]]
    _check_ids(images, categories, ground_truth["annotations"], "an annotation")
    _check_ids(images, categories, results, "a detection")
    frame = {"images": images, "categories": categories}
    return (
        {**frame, "annotations": _true_boxes(ground_truth["annotations"])},
        {**frame, "annotations": _detected_boxes(results)},
    )


def named(numbers: Sequence[float]) -> Metrics:
    """The twelve numbers by name; None for one below zero, which says that there is nothing."""
    names = [name for name, _ in NUMBERS]
    return {
        name: number if number >= 0 else None for name, number in zip(names, numbers, strict=True)
    }


def format_table(
    columns: Mapping[str, Metrics], numbers: Sequence[tuple[str, str]] = NUMBERS
) -> str:
    """Several results side by side, for the terminal.

    Args:
        columns: by the heading of each column, what ``coco_metrics`` returned.
        numbers: the rows, each a name and what the table says about it.

    Returns:
        Lines of text; numbers in percent with one decimal, as in papers, and "-" for None.

    Example:
        >>> print(format_table({"trained": metrics, "folded": folded_metrics}))
    """
    rows = [("", "", *columns)]
    for name, meaning in numbers:
        cells = [metrics[name] for metrics in columns.values()]
        percents = ["-" if cell is None else f"{100 * cell:.1f}" for cell in cells]
        rows.append((name, meaning, *percents))
    return text_table(rows, left=(0, 1))


@contextlib.contextmanager
def _needing(library: str, package: str, other: str) -> Iterator[None]:
    """Says what to do where a library of its body is not installed."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"evaluation by {library} needs it: pip install {package}, or evaluate with "
            f"backend={other!r}"
        ) from error


def faster_evaluator(true: dict, detected: dict):
    """A ``COCOeval_faster`` of faster-coco-eval that prints nothing.

    Raises:
        ImportError: it is not installed; says what to do.
    """
    with _needing("faster-coco-eval", "faster-coco-eval", "pycocotools"):
        from faster_coco_eval import COCO, COCOeval_faster

    silence = {"print_function": lambda *_: None}
    return COCOeval_faster(
        COCO(true, **silence), COCO(detected, **silence), iouType="bbox", **silence
    )


def by_faster_coco_eval(true: dict, detected: dict) -> list[float]:
    """See `BACKENDS`."""
    return twelve(faster_evaluator(true, detected))


def by_pycocotools(true: dict, detected: dict) -> list[float]:
    """See `BACKENDS`."""
    with _needing("pycocotools", "pycocotools", "faster-coco-eval"):
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

    def indexed(dataset: dict) -> COCO:
        # What COCO(file) and loadRes do; loadRes cannot read an empty list.
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        return twelve(COCOeval(indexed(true), indexed(detected), iouType="bbox"))


def by_hotcoco(true: dict, detected: dict) -> list[float]:
    """See `BACKENDS`."""
    with _needing("hotcoco", "yolor-jax[hotcoco]", "faster-coco-eval"):
        from hotcoco import COCO, COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        return twelve(COCOeval(COCO(true), COCO(detected), "bbox"))


BACKENDS = {
    "faster-coco-eval": by_faster_coco_eval,
    "pycocotools": by_pycocotools,
    "hotcoco": by_hotcoco,
}
"""``(true, detected) -> the twelve numbers``, -1 where there is nothing to measure, of annotations
in COCO's format, those of detections with scores. An ImportError where the library is not
installed says what to do."""


def require_backend(backend: str) -> None:
    """Has a library evaluate nothing, so that it is known before a long run that it is there.

    Raises:
        ImportError: it is not installed; says what to do.
    """
    nothing = {"images": [], "categories": [], "annotations": []}
    BACKENDS[backend](nothing, nothing)


def twelve(evaluator) -> list[float]:
    """Has a ``COCOeval`` of any library compare and summarise; -1 where there is nothing."""
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return [float(number) for number in evaluator.stats[: len(NUMBERS)]]


def _true_boxes(annotations: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Copies with all that the libraries need.

    They take a match with annotation 0 for no match, so ids are given anew, from 1.
    """
    return [
        {
            "id": number,
            "image_id": box["image_id"],
            "category_id": box["category_id"],
            "bbox": box["bbox"],
            "area": box.get("area", box["bbox"][2] * box["bbox"][3]),
            "iscrowd": int(box.get("iscrowd", 0)),
        }
        for number, box in enumerate(annotations, start=1)
    ]


def _detected_boxes(results: Sequence[Mapping[str, Any]]) -> list[dict]:
    """Copies with all that the libraries need; the area is that of the box."""
    return [
        {
            "id": number,
            "image_id": box["image_id"],
            "category_id": box["category_id"],
            "bbox": box["bbox"],
            "area": box["bbox"][2] * box["bbox"][3],
            "iscrowd": 0,
            "score": box["score"],
        }
        for number, box in enumerate(results, start=1)
    ]


def _check_ids(images, categories, boxes, what: str) -> None:
    """Raises InputError if a box belongs to an image or a category that does not exist."""
    for key, rows in (("image_id", images), ("category_id", categories)):
        known = {row["id"] for row in rows}
        unknown = sorted({box[key] for box in boxes} - known, key=str)
        if unknown:
            raise InputError(
                f"{what} has {key} {unknown[0]!r}, which is none of the {len(known)} in the ground "
                f"truth ({len(unknown)} such): do both come from the same data set?"
            )
