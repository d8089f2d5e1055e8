"""NMS by its definition, class by class: what the NMS of another runtime does.

```python
found = suppress_plainly(boxes, scores, NmsConfig())
```

`detection.nms` keeps classes apart as YOLOR does, by moving the boxes of each 4096 pixels further,
in float32: for the 80th class that rounds corners to 1/32 pixel, which decides where an IoU lies at
the threshold. ONNX and TensorFlow compare boxes where they are. Both are right, and a certificate
takes either.
"""

import numpy as np
from jaxtyping import Float

from yolor_jax.exports.stages import Found
from yolor_jax.inference.prediction import NmsConfig


def suppress_plainly(
    boxes_xyxy: Float[np.ndarray, "1 N 4"], scores: Float[np.ndarray, "1 N K"], nms: NmsConfig
) -> Found:
    """The detections of one image; ``max_candidates`` does not count, as in other runtimes.

    Args:
        boxes_xyxy: in pixels of the input.
        scores: of each class, 0..1.
        nms: what is a detection.
    """
    [corners], [of_classes] = np.asarray(boxes_xyxy, np.float64), np.asarray(scores)
    kept = []
    for label in np.nonzero((of_classes > nms.score_threshold).any(axis=0))[0]:
        rows = np.nonzero(of_classes[:, label] > nms.score_threshold)[0]
        rows = rows[np.argsort(-of_classes[rows, label], kind="stable")]
        for _ in range(nms.max_detections):
            if not len(rows):
                break
            best, rows = rows[0], rows[1:]
            kept.append((best, label))
            rows = rows[_iou(corners[best], corners[rows]) <= nms.iou_threshold]
    rows, labels = np.array(kept, np.int32).reshape(-1, 2).T
    order = np.argsort(-of_classes[rows, labels], kind="stable")[: nms.max_detections]
    rows, labels = rows[order], labels[order]
    count = np.array([len(rows)], np.int32)
    found = np.float32(corners[rows]), of_classes[rows, labels], labels
    return Found(*(array[None] for array in found), count)


def _iou(box: Float[np.ndarray, "4"], others: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Of one box with others; 0 where neither has an area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inside = sides.clip(0).prod(axis=1)
    area, areas = (box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = area + areas - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
