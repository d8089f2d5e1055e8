"""Every structure of the zoo, narrow and shallow, through ONNX; full widths: `certify_zoo`."""

import dataclasses

import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import Implicits
from yolor_jax.models.zoo import MODELS
from yolor_jax.runs import certification
from yolor_jax.runs.trained import Trained


def narrow(spec):
    """The same structure with a few channels and one bottleneck in each block."""
    return dataclasses.replace(
        spec,
        stem_width=spec.stem_width and 8,
        stages=tuple(dataclasses.replace(one, width=8, repeats=1) for one in spec.stages),
        neck_widths=(8,) * len(spec.neck_widths),
        neck_repeats=1,
        implicit=Implicits(),  # which the fold leaves nothing of
    )


STRUCTURES = {dataclasses.replace(narrow(spec), name=""): name for name, spec in MODELS.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", STRUCTURES.values())
def test_a_structure_passes(name, tmp_path):
    module = build(narrow(MODELS[name]), 3)
    variables = random_leaves(variable_shapes(module))
    for unit in variables["params"]["head"].values():
        unit["conv"]["kernel"] *= np.float32(0.1)
    meta = {"model": name, "num_classes": 3, "class_names": ["a", "b", "c"], "image_size": 128}
    trained = Trained(module.spec, variables, meta).folded()
    stride = module.spec.strides[-1]
    file = trained.export(tmp_path / "a.onnx", image_size=(stride, 2 * stride), layout="nchw")
    pictures = certification.painted_pictures()
    certificate = certification.certify(trained, file, pictures, nms=NmsConfig(0.3))
    assert certificate["ok"], [row for row in certificate["borders"] if not row["ok"]]
