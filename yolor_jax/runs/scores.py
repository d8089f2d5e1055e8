"""The numbers of boxes that are in a file already: a COCO results file, from here or elsewhere.

```python
scores = score("detections.json", "data/coco", "val2017")
scores.metrics["AP50"]
```
"""

import json
import os
import pathlib
from typing import Any, NamedTuple

from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.coco_curves import CocoCurves, compare
from yolor_jax.evaluation.evaluate import Results
from yolor_jax.paths import local_path
from yolor_jax.preparation.annotation_faults import is_integer, is_number
from yolor_jax.preparation.dataset import read_ground_truth
from yolor_jax.runs.evaluation_mode import PLAIN, Mode


class Scores(NamedTuple):
    """The numbers of a file of boxes, and what they are of.

    Attributes:
        metrics: the twelve by name.
        curves: COCO's, where the backend gives any.
        results: the boxes.
        ground_truth: in COCO's format.
        data: the data set.
        split: of it.
        backend: that computed them.
        mode: what was compared.
    """

    metrics: Metrics
    curves: CocoCurves | None
    results: Results
    ground_truth: dict
    data: str
    split: str
    backend: str
    mode: Mode

    @property
    def name(self) -> str:
        """Of the evaluation, for a folder."""
        data = pathlib.Path(self.data).absolute()
        return f"{data.stem if data.is_file() else data.name}-{self.split}{self.mode.suffix()}"

    def about(self) -> dict[str, Any]:
        """What was evaluated, and how, as JSON values."""
        return {
            "data": self.data,
            "split": self.split,
            "step": None,
            "images": len(self.ground_truth["images"]),
            "model": None,
            "mode": {**self.mode.to_dict(), "backend": self.backend},
        }

    def compared(self) -> tuple[dict, Results]:
        """The ground truth and the boxes that the numbers are of."""
        return self.mode.scored(self.ground_truth, self.results)


def score(
    results: str | os.PathLike,
    data: str,
    split: str | None = None,
    *,
    mode: Mode = PLAIN,
    backend: str = "faster-coco-eval",
) -> Scores:
    """Compares a file of boxes with a data set, whose images need not be there.

    Args:
        results: JSON, a list of objects with image_id, category_id, bbox (left, top, width, height
            in pixels) and score.
        data: a data set, or a file of annotations in COCO's format.
        split: of the data set; the one for evaluation if None.
        mode: what is compared: its classes, and whether all count as one.
        backend: one of `evaluation.coco.BACKENDS`.

    Raises:
        InputError: a file is damaged or of another kind, or the boxes are of other images.
    """
    found = read_results(local_path(results))
    ground_truth, split = read_ground_truth(data, split)
    compared = compare(*mode.scored(ground_truth, found), backend=backend)
    return Scores(*compared, found, ground_truth, data, split, backend, mode)


def read_results(path: pathlib.Path) -> Results:
    """A COCO results file, every entry of which is sound.

    Raises:
        InputError: it is no such file; says which entry is wrong.
    """
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no complete JSON: {error}") from error
    if not isinstance(entries, list):
        raise InputError(
            f"{path} holds no list; expected COCO's results format: a list of objects with "
            "image_id, category_id, bbox and score"
        )
    for position, entry in enumerate(entries):
        if fault := _fault(entry):
            raise InputError(f"{path}: entry {position} {fault}")
    names = ("image_id", "category_id", "bbox", "score")
    return [{name: entry[name] for name in names} for entry in entries]


def _fault(entry: Any) -> str | None:
    """What is wrong with one box."""
    if not isinstance(entry, dict):
        return f"is {entry!r}; expected an object"
    for name in ("image_id", "category_id"):
        if not is_integer(entry.get(name)):
            return f"has {name} {entry.get(name)!r}; expected an integer of 64 bits"
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"has bbox {box!r}; expected left, top, width and height in pixels"
    if min(box[2:]) < 0:
        return f"has bbox {box!r}; expected a width and a height of 0 or more"
    if not is_number(entry.get("score")):
        return f"has score {entry.get('score')!r}; expected a finite number"
    return None
