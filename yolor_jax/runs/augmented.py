"""The first images of a run as its training step sees them, on one picture.

```python
path = workdir / "pictures" / "augmented.png"
augmented.draw(
    path, train_batches(source, ...), config=AugmentConfig(), augment=augment,
    key=jax.random.key(seed), step=0, class_names=source.class_names,
)
```
"""

import itertools
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.example import Batch
from yolor_jax.paths import Path
from yolor_jax.pictures.drawing import contact_sheet, draw_boxes, save_image
from yolor_jax.training.step import Augment

IMAGES = 16


def draw(
    path: Path,
    batches: Iterable[Batch],
    *,
    config: AugmentConfig,
    augment: Augment,
    key: jax.Array,
    step: int,
    class_names: Sequence[str],
) -> None:
    """Augments the first images of a run as its first steps will, and draws them with their boxes.

    Args:
        path: of the picture; its folder is created.
        batches: of the run, on the host.
        config: how the images are varied.
        augment: ``(key, batch, step) -> batch``, that of the run.
        key: of the run.
        step: the number of the first batch's step.
        class_names: the name of each class number.
    """
    seen = itertools.islice(_augmented(batches, config, augment, key, step), IMAGES)
    pictures = [
        draw_boxes(image, boxes[mask], labels[mask], class_names=class_names)
        for image, boxes, labels, mask in seen
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, contact_sheet(pictures, columns=4, cell=640))


def _augmented(batches, config: AugmentConfig, augment: Augment, key, step: int):
    """Image, boxes, labels and mask of one image after the other.

    Of a large batch only the groups that are drawn: an image depends on no other group.
    """
    most = -(-IMAGES // config.group) * config.group * config.carried
    jitted = jax.jit(augment)
    for number, batch in enumerate(batches, start=step):
        part = Batch(*(field[:most] for field in batch))
        new = jax.device_get(jitted(jax.random.fold_in(key, number), part, np.int32(number)))
        yield from zip(new.image, new.boxes_xyxy, new.labels, new.mask, strict=True)
