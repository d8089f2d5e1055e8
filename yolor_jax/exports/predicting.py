"""An exported file on the one way from an image to boxes: in the place of the network.

```python
predict = make_predict(open_exported(path), NmsConfig())     # for `evaluation.evaluate`
predictor = make_predictor(open_exported(path), NmsConfig(), batch_size=8)
[prediction] = predictor([image])
```
"""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from yolor_jax.data.letterbox import letterbox
from yolor_jax.detection.nms import Detections
from yolor_jax.errors import InputError
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.stages import Found, as_detections
from yolor_jax.inference.prediction import NmsConfig, Predict, to_original
from yolor_jax.inference.predictor import BatchPredictor


def make_predict(file: Exported, nms: NmsConfig) -> Predict:
    """As `inference.prediction.make_predict`, not to be jitted; takes the variables for nothing.

    Args:
        file: that computes.
        nms: what is a detection, where the file leaves that open.
    """

    def predict(
        variables: Mapping, image: jax.Array, letterbox: jax.Array, original_size: jax.Array
    ) -> Detections:
        return _to_original(file.find(np.asarray(image), nms), letterbox, original_size)

    return predict


def make_predictor(
    file: Exported, nms: NmsConfig, *, batch_size: int = 1, scaled_decode: bool = False
) -> BatchPredictor:
    """What finds objects in images of any size.

    Args:
        file: that computes.
        nms: what is a detection, where the file leaves that open.
        batch_size: images that go through together; a file of a fixed batch has its own.
        scaled_decode: see `Predictor`.
    """
    predict = make_predict(file, nms)
    size = file.form.image_size
    return BatchPredictor(
        lambda *arrays: (predict({}, *arrays), None),
        size=size,
        letterbox=functools.partial(letterbox, size=size),
        batch_size=file.form.batch or batch_size,
        scaled_decode=scaled_decode,
    )


def require_nms(file: Exported, nms: NmsConfig) -> None:
    """Raises an InputError where NMS is in the file and of another kind than is asked for."""
    inside = file.form.nms
    asked = nms.score_threshold, nms.iou_threshold, nms.max_detections
    if inside and asked != (inside.score_threshold, inside.iou_threshold, inside.max_detections):
        raise InputError(
            f"{file.path} has its NMS inside: score {inside.score_threshold}, IoU "
            f"{inside.iou_threshold}, at most {inside.max_detections} boxes; got {asked[0]}, "
            f"{asked[1]} and {asked[2]}: ask for those, or export with --nms none"
        )


@jax.jit
def _to_original(found: Found, letterbox: jax.Array, original_size: jax.Array) -> Detections:
    return to_original(as_detections(found), letterbox, original_size)
