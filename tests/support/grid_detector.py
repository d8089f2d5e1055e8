"""A detector whose answer is known: it sees one object in each cell of the finest level.

The kernels of its head are zero, so that its biases alone speak: for every image, whatever is on
it, a box that fills each 8 x 8 pixel cell of the network input.
"""

import math

import numpy as np

from tests.support.leaves import random_leaves
from yolor_jax.models.detector import Detector, build, variable_shapes

NUM_CLASSES = 3
CLASS = 1
SCORE = 0.75
STRIDE = 8


def grid_detector() -> tuple[Detector, dict]:
    """The module and its variables."""
    module = build("yolor_test", NUM_CLASSES)
    variables = random_leaves(variable_shapes(module))
    for level, unit in variables["params"]["head"].items():
        unit["conv"]["kernel"] = np.zeros_like(unit["conv"]["kernel"])
        unit["implicit_after"]["z"] = np.ones_like(unit["implicit_after"]["z"])
        bias = np.full((len(module.spec.anchors[0]), 5 + NUM_CLASSES), -20.0, np.float32)
        if level == "level0":
            wide, high = (
                _logit(math.sqrt(STRIDE / side) / 2) for side in module.spec.anchors[0][0]
            )
            bias[0, :5] = 0.0, 0.0, wide, high, 20.0
            bias[0, 5 + CLASS] = _logit(SCORE)
        unit["conv"]["bias"] = bias.reshape(-1)
    return module, variables


def grid_boxes(height: int, width: int) -> np.ndarray:
    """The boxes it sees in a network input of this size, xyxy [N, 4], row by row."""
    top, left = np.mgrid[0:height:STRIDE, 0:width:STRIDE].reshape(2, -1)
    return np.stack([left, top, left + STRIDE, top + STRIDE], axis=-1).astype(np.float32)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
