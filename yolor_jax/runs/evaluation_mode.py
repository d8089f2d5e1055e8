"""The ways in which a network may be evaluated beside the plain one.

```python
mode = Mode(rectangular=True, tta=True)
evaluated = evaluate(trained, recipe, mode=mode)
mode.words()   # ["rectangular batches", "test-time augmentation"]
```
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from yolor_jax.detection.nms import class_agnostic_nms, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.views import AS_IT_IS, THREE_VIEWS


@dataclasses.dataclass(frozen=True)
class Mode:
    """How images are looked at, and what of the answer is scored; as it stands, COCO's protocol.

    Attributes:
        rectangular: the original's rectangular batches instead of square letterbox.
        tta: test-time augmentation, the original's three views of each image.
        single_class: all classes count as one, "object"; boxes of all classes suppress each other.
        class_agnostic: boxes of different classes suppress each other.
        classes: names of those that are looked for and scored; () for all.
        max_detections: boxes of an image at most; None for the recipe's. COCO's numbers look at 100
            of each image and class at most.
    """

    rectangular: bool = False
    tta: bool = False
    single_class: bool = False
    class_agnostic: bool = False
    classes: tuple[str, ...] = ()
    max_detections: int | None = None

    def __post_init__(self):
        if self.max_detections is not None and self.max_detections < 1:
            raise InputError(f"got max_detections={self.max_detections}; expected at least one")

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> "Mode":
        """The mode of what `to_dict` gave; further entries are left out."""
        given = {f.name: entries[f.name] for f in dataclasses.fields(cls) if f.name in entries}
        return cls(**given | {"classes": tuple(given.get("classes") or ())})

    def prediction(self) -> dict[str, Any]:
        """What of it `make_predict` takes."""
        across_classes = self.class_agnostic or self.single_class
        return {
            "suppress": class_agnostic_nms if across_classes else non_max_suppression,
            "views": THREE_VIEWS if self.tta else AS_IT_IS,
        }

    def words(self) -> list[str]:
        """What differs from the plain way, for people; [] if nothing does."""
        said = {
            "rectangular batches": self.rectangular,
            "test-time augmentation": self.tta,
            "all classes as one": self.single_class,
            "class-agnostic NMS": self.class_agnostic,
            f"only {', '.join(self.classes)}": self.classes,
            f"at most {self.max_detections} boxes an image": self.max_detections is not None,
        }
        return [words for words, differs in said.items() if differs]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self) | {"classes": list(self.classes)}

    def suffix(self) -> str:
        """The same for the name of a folder, such as ``-rect-tta``."""
        parts = {
            "rect": self.rectangular,
            "tta": self.tta,
            "single-class": self.single_class,
            "agnostic": self.class_agnostic,
            f"{len(self.classes)}-classes": self.classes,
            f"max{self.max_detections}": self.max_detections is not None,
        }
        return "".join(f"-{part}" for part, differs in parts.items() if differs)

    def scored(self, ground_truth: Mapping[str, Any], results: list[dict]) -> tuple[dict, list]:
        """What is compared of the truth and of what was found.

        Args:
            ground_truth: in COCO's format.
            results: a COCO results file.

        Returns:
            Both with the classes of this mode alone, new where they differ.

        Raises:
            InputError: a class that the data set lacks.
        """
        categories, annotations = ground_truth["categories"], ground_truth["annotations"]
        self.require_classes([category["name"] for category in categories])
        if self.classes:
            categories = [one for one in categories if one["name"] in self.classes]
            kept = {category["id"] for category in categories}
            annotations = [box for box in annotations if box["category_id"] in kept]
            results = [box for box in results if box["category_id"] in kept]
        if self.single_class:
            categories = [{"id": 1, "name": "object"}]
            annotations = [{**box, "category_id": 1} for box in annotations]
            results = [{**box, "category_id": 1} for box in results]
        parts = {"categories": categories, "annotations": annotations}
        return {**ground_truth, **parts}, results

    def require_classes(self, names: Sequence[str]) -> None:
        """Raises an InputError unless the mode's classes are among these."""
        if wrong := [name for name in self.classes if name not in names]:
            raise InputError(f"there is no class {wrong[0]!r}; expected some of {', '.join(names)}")


PLAIN = Mode()
"""COCO's protocol."""
