"""What is written of a frame: a row of plain values, the same in every format and on every machine.

```python
row_of("a.jpg", (480, 640), prediction, class_names)
# {"file": "a.jpg", "height": 480, "width": 640, "detections": [{"name": "dog", "label": 1,
#  "score": 0.75, "box_xyxy": [16.0, 16.0, 32.0, 32.0]}]}
```
"""

from collections.abc import Sequence
from typing import Any

from yolor_jax.inference.prediction import Prediction

Row = dict[str, Any]


def row_of(
    source: str,
    size_hw: tuple[int, int],
    prediction: Prediction,
    class_names: Sequence[str],
    *,
    number: int | None = None,
    seconds: float | None = None,
) -> Row:
    """The row of a picture, or of a frame of a film.

    Args:
        source: of a file, its path; or the name of a camera or a stream.
        size_hw: of the picture in pixels.
        prediction: what is on it.
        class_names: of all classes.
        number: of the frame in a film.
        seconds: of the frame in a film.

    Returns:
        ``file``, of a film ``frame`` and ``seconds``, ``height``, ``width`` and ``detections``:
        ``name``, ``label``, ``score`` (to 1e-4), ``box_xyxy`` in pixels of the picture (to 0.01),
        and ``vector`` (to 1e-5) if the prediction has vectors, by descending score.
    """
    film = {} if number is None else {"frame": number, "seconds": round(seconds, 3)}
    detections = [
        {
            "name": class_names[label],
            "label": label,
            "score": round(score, 4),
            "box_xyxy": [round(v, 2) for v in box_xyxy],
            **vector,
        }
        for label, score, box_xyxy, vector in zip(
            prediction.labels.tolist(),
            prediction.scores.tolist(),
            prediction.boxes_xyxy.tolist(),
            _vectors(prediction),
            strict=True,
        )
    ]
    return {
        "file": source,
        **film,
        "height": size_hw[0],
        "width": size_hw[1],
        "detections": detections,
    }


def _vectors(prediction: Prediction) -> list[dict[str, list[float]]]:
    if prediction.vectors is None:
        return [{}] * len(prediction.scores)
    return [{"vector": [round(v, 5) for v in vector]} for vector in prediction.vectors.tolist()]
