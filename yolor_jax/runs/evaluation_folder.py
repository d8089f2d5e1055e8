"""What an evaluation leaves: a folder of its own, which no other evaluation overwrites.

    folder = write(root_of(user_path("runs/csp")), evaluated)
    # runs/csp/evaluations/coco-val2017-step118000-folded-640px/: evaluation.json, detections.json

evaluation.json has what was evaluated and how, the numbers, the `Analysis`, and the stamp of who
did it; detections.json has the boxes in COCO's results format.
"""

import itertools
import json
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.evaluation.analysis import Analysis, analyse, to_json
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.coco_curves import CocoCurves
from yolor_jax.evaluation.evaluate import Results
from yolor_jax.exports import SUFFIXES
from yolor_jax.paths import Path
from yolor_jax.runs.evaluation_mode import Mode
from yolor_jax.stamp import stamp
from yolor_jax.whole_file import whole_file

FOLDER = "evaluations"
RECORD = "evaluation.json"
BOXES = "detections.json"
_FOUND_OUT = ("metrics", "analysis", "stamp")
"""What a record says beside which evaluation it is of."""


@runtime_checkable
class Writable(Protocol):
    """What there is to write: `runs.evaluation.Evaluated`, or `runs.scores.Scores`."""

    metrics: Metrics
    results: Results
    curves: CocoCurves | None
    name: str

    def about(self) -> dict[str, Any]:
        """What was evaluated, and how, as JSON values."""

    def compared(self) -> tuple[dict, Results]:
        """The ground truth and the boxes that the numbers are of."""


def root_of(place: Path) -> Path:
    """Where the evaluations of a run, or of a file of weights or of boxes, have their folders; a
    SavedModel, which is a folder, counts as a file.
    """
    is_file = place.is_file() or place.suffix == SUFFIXES["savedmodel"]
    return place.with_suffix(f".{FOLDER}") if is_file else place / FOLDER


def write(root: Path, evaluated: Writable) -> tuple[Path, Analysis]:
    """Analyses an evaluation and writes it; one of the same kind that was there is replaced.

    Args:
        root: of `root_of`.
        evaluated: numbers and boxes, and what they are of.

    Returns:
        The folder, and the analysis.

    Raises:
        OSError: it cannot be written.
    """
    about = evaluated.about()
    analysis = analyse(*evaluated.compared(), curves=evaluated.curves)
    folder = _folder(root, evaluated.name, about)
    folder.mkdir(parents=True, exist_ok=True)
    record = about | {
        "metrics": evaluated.metrics,
        "analysis": to_json(analysis),
        "stamp": stamp(),
    }
    _write_json(folder / BOXES, evaluated.results)
    _write_json(folder / RECORD, record)
    return folder, analysis


def facts(about: Mapping[str, Any]) -> list[str]:
    """Of what an evaluation is, and how it was done, in words; the data come first.

    Args:
        about: its record, or what `Writable.about` gives.
    """
    given = about.get("mode") or {}
    said = [f"{about['images']:,} images of {about['data']}, {about['split']}"]
    if (step := about.get("step")) is not None:
        said.append(f"step {step:,}")
    if size := given.get("image_size"):
        said.append(f"{size} pixels")
    if given.get("folded"):
        said.append("folded")
    if runtime := given.get("runtime"):
        said.append(f"exported, by {runtime}")
    if images := given.get("exact_statistics"):
        said.append(f"exact statistics of {images} training images")
    if knowledge := given.get("knowledge"):
        said.append(f"knowledge {knowledge}")
    said += Mode.of(given).words()
    if nms := about.get("nms"):
        said.append(
            f"NMS at IoU {nms['iou_threshold']:g} of scores above {nms['score_threshold']:g}"
        )
    return said + ([given["backend"]] if given.get("backend") else [])


def read(folder: Path) -> dict[str, Any]:
    """The record of an evaluation.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        with bucket.as_os_error(path):
            record = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no evaluation: it has no {RECORD}") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); evaluate again") from error
    if not isinstance(record, dict) or not {"data", "split", "metrics", "analysis"} <= set(record):
        raise InputError(f"{path} is no record of an evaluation; evaluate again")
    return record


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as file:
        file.write_text(json.dumps(value, allow_nan=False))


def _folder(root: Path, name: str, about: Mapping[str, Any]) -> Path:
    """The first folder of this name, or of it with -2, -3 and so on, that may be written to."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(root / one for one in names if _is_free(root / one, about))


def _is_free(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether nothing is there, or an evaluation of the same."""
    with bucket.as_os_error(folder):
        if not folder.exists():
            return True
    try:
        there = read(folder)
    except InputError:
        return False
    return {key: value for key, value in there.items() if key not in _FOUND_OUT} == about
