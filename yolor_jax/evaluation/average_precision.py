"""COCO's average precision from matches: the mean over 101 recalls of the highest precision there.

```python
mean_average_precision(label, right, objects)   # by falling score -> AP50 of matches at IoU 0.5
```
"""

import numpy as np
from jaxtyping import Bool, Int

RECALLS = np.linspace(0, 1, 101)


def average_precision(right: Bool[np.ndarray, " D"], objects: int) -> float:
    """Of one class.

    Args:
        right: whether each detection is of an object, by falling score.
        objects: how many there are; at least one.
    """
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    at = np.searchsorted(found / objects, RECALLS, side="left")
    return float(np.append(highest, 0)[at].mean())


def mean_average_precision(
    label: Int[np.ndarray, " D"], right: Bool[np.ndarray, " D"], objects: Int[np.ndarray, " K"]
) -> float | None:
    """The mean over the classes with objects.

    Args:
        label: class of each detection, by falling score.
        right: whether it is of an object.
        objects: how many each class has.

    Returns:
        0..1; None where no class has objects.
    """
    by_class = np.split(
        right[np.argsort(label, kind="stable")],
        np.cumsum(np.bincount(label, minlength=len(objects))),
    )
    values = [
        average_precision(right, count)
        for right, count in zip(by_class, objects.tolist(), strict=False)
        if count
    ]
    return float(np.mean(values)) if values else None
