"""One small network, its files of both formats and several dtypes, and pictures for them."""

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.saved_run import META
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.runs.trained import Trained

NMS = NmsConfig(0.4, 0.45)


@pytest.fixture(scope="session")
def network():
    """A `yolor_test` that finds a few dozen boxes in anything."""
    module = build("yolor_test", 3)
    variables = random_leaves(variable_shapes(module))
    for unit in variables["params"]["head"].values():
        unit["conv"]["kernel"] *= np.float32(0.3)  # boxes of the size of the picture, not beyond
    return Trained(module.spec, variables, {**META, "licence": "CC0-1.0"})


@pytest.fixture(scope="session")
def files(network, pictures, tmp_path_factory):
    """By its name an exported file: both formats, NMS outside and inside, several forms."""
    pixels = [image for _, image in pictures]
    folder = tmp_path_factory.mktemp("exported")
    forms = {
        "plain.onnx": {"batch": None},
        "nms.onnx": {"nms": NMS, "batch": 2, "layout": "nchw", "pixels": "float32"},
        "nms.zip": {"nms": NMS, "batch": None},
        "float16.onnx": {"nms": NMS, "dtype": "float16"},
        "bfloat16.zip": {"batch": None, "dtype": "bfloat16"},
        "int8.onnx": {"nms": NMS, "batch": 2, "dtype": "int8", "calibration": pixels},
    }
    return {name: network.export(folder / name, **form) for name, form in forms.items()}


@pytest.fixture(scope="session")
def pictures():
    """Names and pixels of three pictures of different shapes."""
    generator = np.random.default_rng(0)
    sizes = ((64, 64), (48, 100), (90, 37))
    coarse = [generator.integers(0, 256, (height // 4, width // 4, 3)) for height, width in sizes]
    return [
        (f"{i}.png", np.uint8(np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)))
        for i, small in enumerate(coarse)
    ]


@pytest.fixture(scope="session")
def found(network, pictures):
    """What the network itself finds in the pictures."""
    predictor = network.predictor(score=NMS.score_threshold, iou=NMS.iou_threshold).predictor
    predictions = predictor([image for _, image in pictures])
    assert all(len(one.scores) > 5 for one in predictions)
    assert jax.default_backend() == "cpu"
    return predictions
