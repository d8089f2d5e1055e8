"""What TensorBoard shows beside the scalars: pictures, and how implicit knowledge is distributed.

```python
board = Board(TensorBoard(folder), sources.evaluation, module.spec)
board.show_augmented(step, workdir / "pictures" / "augmented.png")
board.show_evaluation(step, ema_params, evaluation.results)
```
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from yolor_jax.data.encoded import decode
from yolor_jax.models.implicits import representations
from yolor_jax.models.spec import ModelSpec
from yolor_jax.paths import Path
from yolor_jax.pictures.drawing import contact_sheet, draw_pair
from yolor_jax.runs.sources import Split
from yolor_jax.training.metrics import TensorBoard

IMAGES = 4  # of the evaluation split, the same ones each time
LEAST_SCORE = 0.25  # of a detection that is drawn


class Board:
    """Pictures and histograms of a run for TensorBoard."""

    def __init__(self, writer: TensorBoard, source: Split, spec: ModelSpec):
        """Writes nothing yet.

        Args:
            writer: of the event files.
            source: the evaluation split.
            spec: the model.
        """
        self._writer = writer
        self._source = source
        self._spec = spec

    def show_augmented(self, step: int, picture: Path) -> None:
        """Shows the picture of the first images as training sees them."""
        image = cv2.imdecode(np.frombuffer(picture.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        self._writer.write_image(step, "augmented", image[..., ::-1])

    def show_evaluation(
        self, step: int, params: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
    ) -> None:
        """Shows the first images, predicted boxes beside true ones, and g(z) of every implicit.

        Args:
            step: of the state that was evaluated.
            params: its moving average, on the host or one device.
            results: the detections in COCO's format (see `evaluation.evaluate`).
        """
        pairs = [self._pair(i, results) for i in range(min(IMAGES, len(self._source)))]
        self._writer.write_image(step, "predictions", contact_sheet(pairs, columns=2, cell=None))
        for path, values in representations(self._spec, params).items():
            self._writer.write_histogram(step, f"implicit/{path}", np.asarray(values))

    def _pair(self, index: int, results: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """One image, predicted boxes left and true boxes right."""
        example = self._source[index]
        image_id = self._source.image_ids[index]
        labels = {category: label for label, category in enumerate(self._source.category_ids)}
        mine = [r for r in results if r["image_id"] == image_id and r["score"] >= LEAST_SCORE]
        boxes = np.array([r["bbox"] for r in mine], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]  # left, top, width, height -> corners
        return draw_pair(
            decode(example.jpeg),
            boxes,
            np.array([labels[r["category_id"]] for r in mine], np.int32),
            np.array([r["score"] for r in mine], np.float32),
            example.boxes_xyxy,
            example.labels,
            class_names=self._source.class_names,
        )
