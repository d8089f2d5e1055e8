"""The golden models: weights drawn by name (golden/README.md, 1.2) and outputs of the original."""

import json
import pathlib
import zlib
from typing import Any, NamedTuple

import numpy as np
import pytest

from yolor_jax.models.spec import ModelSpec
from yolor_jax.models.zoo import MODELS

DRAW = {
    "conv_weight": lambda g, s, c: g.standard_normal(s) * np.sqrt(2 / np.prod(s[1:])),
    "conv_bias": lambda g, s, c: 0.1 * g.standard_normal(s),
    "bn_bias": lambda g, s, c: 0.1 * g.standard_normal(s),
    "bn_weight": lambda g, s, c: g.uniform(0.5, 1.5, s),
    "implicit_mul": lambda g, s, c: g.uniform(0.5, 1.5, s),
    "implicit_add": lambda g, s, c: 0.5 * g.standard_normal(s),
    "bn_mean": lambda g, s, c: np.sqrt(c) * (0.1 * g.standard_normal(s)),
    "bn_var": lambda g, s, c: c * g.uniform(0.5, 1.5, s),
}


NAMES = {
    "main__yolor_csp": "yolor_csp",
    "main__yolor_csp_x": "yolor_csp_x",
    "main__yolor_p6": "yolor_p6",
    "main__yolor_w6": "yolor_w6",
    "main__yolov4_csp": "yolov4_csp",
    "main__yolov4_csp_x": "yolov4_csp_x",
    "main__yolov4_p6": "yolov4_p6",
    "main__yolov4_p7": "yolov4_p7",
    "paper__yolor-p6": "yolor_p6_paper",
    "paper__yolor-w6": "yolor_w6_paper",
    "paper__yolor-e6": "yolor_e6",
    "paper__yolor-d6": "yolor_d6",
    "paper__yolor-ssss-s2d": "yolor_ssss_s2d",
    "paper__yolor-ssss-dwt": "yolor_ssss_dwt",
}
"""Golden file -> model of the zoo."""

QUICK = {"yolor_csp", "yolor_p6", "yolov4_csp", "yolor_p6_paper", "yolor_ssss_s2d"}
"""A model of each form; the others differ from one of them in size, or in stem and halving."""
OF_EACH_FORM = [name for name, model in NAMES.items() if model in QUICK]


def parameter(name: str, model: str) -> Any:
    """A parameter of a test of all models, of which the default run takes the quick ones."""
    return pytest.param(name, marks=() if model in QUICK else pytest.mark.long)


class GoldenModel(NamedTuple):
    """Facts, arrays and state dict of one golden model."""

    spec: ModelSpec
    facts: dict
    arrays: dict[str, np.ndarray]
    state_dict: dict[str, np.ndarray]


def load(golden: pathlib.Path, name: str) -> GoldenModel:
    """Reads a golden model and draws its weights, checked by their crc32."""
    facts = json.loads((golden / "models" / f"{name}.json").read_text())
    state_dict, crc = {}, 0
    for tensor, shape, kind in facts["state_dict"]:
        if kind == "buffer":
            state_dict[tensor] = np.asarray(facts["buffers"][tensor], np.float32).reshape(shape)
            continue
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(tensor.encode())))
        scale = facts["bn_scale"].get(tensor.rpartition(".")[0])
        value = DRAW[kind](generator, shape, scale).astype(np.float32)
        crc = zlib.crc32(value.tobytes(), crc)
        state_dict[tensor] = value
    assert crc == facts["weights_crc32"], "NumPy draws another stream: nothing can match"
    arrays = dict(np.load(golden / "models" / f"{name}.npz"))
    return GoldenModel(MODELS[NAMES[name]], facts, arrays, state_dict)


def images(shape: list[int]) -> np.ndarray:
    """The golden input, NHWC float32."""
    x = np.random.Generator(np.random.PCG64(20210510)).random(shape).astype(np.float32)
    return x.transpose(0, 2, 3, 1)


def to_golden_layout(logits: np.ndarray) -> np.ndarray:
    """``[B, h, w, A, 5 + K] -> [B, A, h, w, 5 + K]``."""
    return np.moveaxis(np.asarray(logits), 3, 1)
