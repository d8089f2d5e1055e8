"""Objects in images of any kind, by a network or an exported file, in the words of its classes.

```python
finder = ObjectFinder(predictor, ("cat", "dog"))
for found in finder.each(["a.jpg", image]):
    found.boxes_xyxy, found.names
```
"""

from collections.abc import Iterator
from typing import Any

from yolor_jax.data.classes import category_ids
from yolor_jax.inference.predictor import BatchPredictor
from yolor_jax.runs.found import Found, as_pictures


class ObjectFinder:
    """Images of any kind in, `Found` out; safe to call from several threads.

    Attributes:
        predictor: of arrays.
    """

    def __init__(self, predictor: BatchPredictor, class_names: tuple[str, ...]):
        """See `Trained.predictor`."""
        self.predictor = predictor
        self._class_names = class_names
        self._category_ids = category_ids(class_names)

    @property
    def image_size(self) -> int:
        """Side of the network input in pixels."""
        return self.predictor.size[0]

    def __call__(self, images: Any) -> list[Found]:
        """One result for each image, in their order; see `Trained.predict`."""
        return list(self.each(images))

    def each(self, images: Any) -> Iterator[Found]:
        """The same, one after the other; images are taken a few ahead of what is asked for."""
        pictures = as_pictures(images, self.predictor.enough_hw)
        prepared = map(self.predictor.prepare_scaled, pictures)
        for prediction in self.predictor.each_prepared(prepared):
            yield Found(
                prediction.boxes_xyxy,
                prediction.scores,
                prediction.labels,
                self._class_names,
                self._category_ids,
                prediction.vectors,
            )
