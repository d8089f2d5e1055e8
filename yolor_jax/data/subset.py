"""A few images of a split, as a split of their own: for trials such as overfitting.

```python
few = first_images(source, 16)
len(few), few.image_ids, few.ground_truth()["images"]     # 16 everywhere
```
"""

from typing import SupportsIndex

import numpy as np

from yolor_jax.data.example import Example
from yolor_jax.data.sources import Source
from yolor_jax.data.targets import Targets
from yolor_jax.errors import InputError


class Subset:
    """Chosen images of a source, numbered anew; reads like a `Source`."""

    def __init__(self, source: Source, positions: tuple[int, ...]):
        """Chooses images.

        Args:
            source: a split.
            positions: of the images in it.
        """
        self.split = source.split
        self.class_names = source.class_names
        self.category_ids = source.category_ids
        self.image_ids = tuple(source.image_ids[position] for position in positions)
        self._source = source
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: SupportsIndex) -> Example:
        """Reads one image; its `index` is the position in the subset."""
        return self._source[self._positions[index]]._replace(index=int(index))

    @property
    def targets(self) -> Targets | None:
        """The boxes of the chosen images at once; None if no sidecar has them."""
        whole = self._source.targets
        if whole is None:
            return None
        chosen = np.array(self._positions, np.int64)
        counts = np.diff(whole.start)[chosen]
        rows = np.concatenate(
            [np.arange(whole.start[i], whole.start[i + 1]) for i in self._positions]
        )
        return whole._replace(
            image_ids=whole.image_ids[chosen],
            start=np.cumsum([0, *counts], dtype=np.int64),
            boxes_xyxy=whole.boxes_xyxy[rows],
            labels=whole.labels[rows],
            is_crowd=whole.is_crowd[rows],
            size_hw=None if whole.size_hw is None else whole.size_hw[chosen],
            identity=None if whole.identity is None else whole.identity[rows],
        )

    def name(self, index: SupportsIndex) -> str:
        """File name of an image."""
        return self._source.name(self._positions[index])

    def ground_truth(self) -> dict:
        """Annotations of the chosen images in COCO format."""
        whole = self._source.ground_truth()
        chosen = set(self.image_ids)
        return whole | {
            "images": [image for image in whole["images"] if image["id"] in chosen],
            "annotations": [a for a in whole["annotations"] if a["image_id"] in chosen],
        }


def first_images(source: Source, count: int) -> Subset:
    """The first images by id that show an object which is no crowd.

    Args:
        source: a split.
        count: how many.

    Raises:
        InputError: if there are not so many.
    """
    by_id = sorted(range(len(source)), key=lambda position: source.image_ids[position])
    positions = []
    for position in by_id:
        if len(positions) == count:
            break
        if not source[position].is_crowd.all():
            positions.append(position)
    if len(positions) < count:
        raise InputError(
            f"{source.split} has {len(positions)} images with an object, got a wish for {count}; "
            "ask for fewer"
        )
    return Subset(source, tuple(positions))
