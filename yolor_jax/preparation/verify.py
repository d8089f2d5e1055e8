"""Looks through a prepared data set: whole images, boxes inside, and nothing missing.

```python
verified = verify(open_source(directory, "val2017"))
verified.images, verified.targets, verified.faults
```
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from yolor_jax.data.encoded import apply_orientation, check
from yolor_jax.data.sources import Source
from yolor_jax.errors import InputError
from yolor_jax.preparation.coco_files import Original
from yolor_jax.preparation.report import Report
from yolor_jax.progress import progress as progress_bar


class Verified(NamedTuple):
    """What was found in a split.

    Attributes:
        images: number of those that are whole.
        targets: number of boxes on them.
        faults: a line for each image, or count, that is not as it must be.
    """

    images: int
    targets: int
    faults: list[str]


def verify(source: Source, *, progress: bool = True) -> Verified:
    """Reads and decodes every image, and compares all with what was counted in preparation.

    Args:
        source: the split; only one that was prepared here has counts to compare with.
        progress: whether to show a bar.
    """
    images, targets, faults = 0, 0, []
    bar = progress_bar(
        total=len(source), desc=f"verifying {source.split}", unit="image", disable=not progress
    )
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda index: _check(source, index), range(len(source))):
            if isinstance(found, str):
                faults.append(found)
            else:
                images, targets = images + 1, targets + found
            bar.update()
    try:
        source.ground_truth()
    except InputError as error:
        faults.append(str(error))
    if Report.path(source.directory, source.split).exists():
        report = Report.load(source.directory, source.split)
        if (images, targets) != (report.images, report.targets):
            faults.append(
                f"{images} whole images with {targets} boxes; {report.images} with "
                f"{report.targets} were prepared"
            )
    return Verified(images, targets, faults)


def compare(source: Source, original: Original, *, progress: bool = True) -> list[str]:
    """Compares all bytes of all images with those that they were made of.

    Args:
        source: a split that was prepared.
        original: the split of the folder that it is said to be of, as it is now.
        progress: whether to show a bar.

    Returns:
        A line for each image that is another one now, or is not there.
    """
    bar = progress_bar(
        total=len(source), desc=f"comparing {source.split}", unit="image", disable=not progress
    )
    faults = []
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        for fault in pool.map(lambda i: _difference(source, original, i), range(len(source))):
            faults += [fault] if fault else []
            bar.update()
    return faults


def _difference(source: Source, original: Original, index: int) -> str | None:
    name = source.name(index)
    if name not in original.files:
        return f"{name}: not there any more"
    try:
        stored, data = source[index].jpeg, original.read(name)
        same = stored == data or stored == apply_orientation(data)
    except ValueError as error:
        return f"{name}: {error}"
    return None if same else f"{name}: other bytes than were prepared"


def _check(source: Source, index: int) -> int | str:
    """Number of boxes of an image, or what is wrong with it."""
    try:
        example = source[index]
        height, width = check(example.jpeg)[:2]
    except ValueError as error:
        return f"image {index}: {error}"
    left, top, right, bottom = example.boxes_xyxy.T
    inside = (0 <= left) & (left < right) & (right <= width)
    inside &= (0 <= top) & (top < bottom) & (bottom <= height)
    known = (0 <= example.labels) & (example.labels < len(source.class_names))
    if not np.all(inside & known):
        return f"image {index} ({source.name(index)}): a box reaches outside, or has no class"
    return len(inside)
