"""What a network found in one image, and images of any kind as it takes them."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32

from yolor_jax.data.encoded import decoded_by
from yolor_jax.data.scaled import Scaled, upright_scaled, whole
from yolor_jax.evaluation.evaluate import coco_results
from yolor_jax.inference.prediction import Prediction
from yolor_jax.inference.predictor import check_image


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The objects in one image, by descending score; there may be none.

    Attributes:
        boxes_xyxy: corners in pixels of the image, inside it.
        scores: 0..1.
        labels: class numbers.
        class_names: of all classes of the network.
        category_ids: COCO's id of each class number.
        vectors: of length 1, by which an object is known again; None if they were not asked for.
    """

    boxes_xyxy: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    vectors: Float32[np.ndarray, "n E"] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        counts = {name: self.names.count(name) for name in dict.fromkeys(self.names)}
        said = ", ".join(f"{number} {name}" for name, number in counts.items())
        return f"Found({said or 'nothing'})"

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.class_names[label] for label in self.labels]

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Entries of a COCO results file: image_id, category_id, bbox (x, y, w, h), score."""
        prediction = Prediction(self.boxes_xyxy, self.scores, self.labels)
        return coco_results(prediction, image_id, self.category_ids)

    def to_supervision(self) -> Any:
        """A ``supervision.Detections``.

        Raises:
            ImportError: that library is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError("to_supervision needs: pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array(self.names)},
        )


def as_pictures(given: Any, enough_hw: tuple[int, int] | None = None) -> Iterator[Scaled]:
    """One image or several, one after the other.

    Args:
        given: a path, the bytes of an encoded image, an array [H, W, 3] or [B, H, W, 3], an image
            of PIL, or an iterable of these.
        enough_hw: of what is encoded, as many pixels as a letterbox of this size takes; None for
            all.

    Raises:
        OSError: there is no such file.
        InputError: no image; says what was got and what to do.
        TypeError: an array is not uint8.
    """
    if isinstance(given, str | os.PathLike | bytes):
        yield decoded_by(functools.partial(upright_scaled, enough_hw=enough_hw), given)
    elif isinstance(given, np.ndarray) and given.ndim != 4:
        yield whole(check_image(given, "the image"))
    elif hasattr(given, "convert") and hasattr(given, "getbands"):  # an image of PIL
        yield whole(np.array(given.convert("RGB")))
    elif isinstance(given, Iterable):
        for one in given:
            yield from as_pictures(one, enough_hw)
    else:
        yield whole(check_image(given, "the image"))
