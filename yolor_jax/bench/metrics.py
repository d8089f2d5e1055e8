"""How long a comparison of detections with ground truth takes, by each library and by our analysis.

    rows = measure(Trial(images=5000, detections=100), rounds=3)
    rows[0]["seconds"]              # of faster-coco-eval's twelve numbers

Boxes are drawn: seven objects an image in the mean, and detections around them, four in five of
their class. All that is installed is timed in turn, round after round, so that a busy machine slows
all alike.
"""

import statistics
import time
from typing import Any, NamedTuple

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.evaluation.analysis import analyse
from yolor_jax.evaluation.coco import BACKENDS, coco_metrics, require_backend
from yolor_jax.evaluation.coco_curves import compare

SIDE = 640
OBJECTS = 7  # of an image in the mean, as in COCO
RIGHT_CLASS = 0.8
JITTER = 12.0  # pixels


class Trial(NamedTuple):
    """What is measured.

    Attributes:
        images: how many.
        detections: in each of them.
        classes: K.
    """

    images: int = 5000
    detections: int = 100
    classes: int = 80


def measure(trial: Trial, rounds: int) -> list[dict[str, Any]]:
    """Medians over the rounds: the seconds of each library that is installed, and of the analysis.

    The last one is what an evaluation does: both, in one pass of the default library.

    Raises:
        InputError: a number is below one.
    """
    for name, number in (*trial._asdict().items(), ("rounds", rounds)):
        if number < 1:
            raise InputError(f"{name} is {number}; expected at least 1")
    ground_truth, results = drawn(trial)
    programs = {
        f"twelve numbers, {backend}": lambda backend=backend: coco_metrics(
            ground_truth, results, backend=backend
        )
        for backend in BACKENDS
        if _is_installed(backend)
    }
    programs["analysis"] = lambda: analyse(ground_truth, results)
    programs["twelve numbers and analysis"] = lambda: analyse(
        ground_truth, results, curves=compare(ground_truth, results).curves
    )
    times = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            started = time.perf_counter(), time.process_time()
            program()
            times[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return [
        {
            "program": name,
            "seconds": round(statistics.median(wall for wall, _ in own), 3),
            "cpu_seconds": round(statistics.median(cpu for _, cpu in own), 3),
        }
        for name, own in times.items()
    ]


def drawn(trial: Trial) -> tuple[dict, list[dict]]:
    """Ground truth and results in COCO's format, the same at each call."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(OBJECTS - 1, trial.images) + 1
    image = np.repeat(np.arange(trial.images), counts)
    label = rng.integers(0, trial.classes, len(image))
    corners, sides = rng.uniform(0, 440, (len(image), 2)), rng.uniform(10, 200, (len(image), 2))
    boxes_xywh = np.concatenate([corners, sides], axis=1)

    detected_in = np.repeat(np.arange(trial.images), trial.detections)
    first = np.cumsum(counts) - counts
    around = first[detected_in] + rng.integers(0, counts[detected_in])
    detected_xywh = boxes_xywh[around] + rng.normal(0, JITTER, (len(around), 4))
    detected_xywh[:, 2:] = np.maximum(detected_xywh[:, 2:], 1)
    other = rng.integers(0, trial.classes, len(around))
    detected_label = np.where(rng.random(len(around)) < RIGHT_CLASS, label[around], other)
    score = rng.random(len(around))

    def rows(image, label, boxes_xywh) -> list[dict]:
        columns = image.tolist(), (label + 1).tolist(), boxes_xywh.tolist()
        return [
            {"image_id": image_id, "category_id": category_id, "bbox": bbox}
            for image_id, category_id, bbox in zip(*columns, strict=True)
        ]

    ground_truth = {
        "images": [{"id": i, "width": SIDE, "height": SIDE} for i in range(trial.images)],
        "categories": [{"id": k + 1, "name": f"class {k + 1}"} for k in range(trial.classes)],
        "annotations": rows(image, label, boxes_xywh),
    }
    results = rows(detected_in, detected_label, detected_xywh)
    for row, value in zip(results, score.tolist(), strict=True):
        row["score"] = value
    return ground_truth, results


def _is_installed(backend: str) -> bool:
    try:
        require_backend(backend)
    except ImportError:
        return False
    return True
