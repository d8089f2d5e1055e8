"""What the original's checkpoints have no name for is refused, never left out."""

import dataclasses

import numpy as np
import pytest

from yolor_jax.models.spec import Stage, with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.weights.convert import expected_shapes, from_torch
from yolor_jax.weights.names import torch_constants, torch_names

PLAIN, PAPER = MODELS["yolor_test"], MODELS["yolor_p6_paper"]


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (PLAIN, {"stem_width": None}),
        (PLAIN, {"down": "csp"}),
        (PAPER, {"spp_repeats": 2}),
        (PAPER, {"stages": (Stage(8, 1, csp=False), *PAPER.stages[1:])}),
    ],
)
def test_blocks_without_a_name(spec, changes):
    with pytest.raises(ValueError, match="has blocks for which"):
        torch_names(dataclasses.replace(spec, **changes))


@pytest.mark.parametrize(
    "description",
    [
        {"pyramid": "add"},
        {"branch": "add"},
        {"alignment": "multiply"},
        {"refinement": "add"},
        {"refinement": {"operator": "multiply", "scope": "size"}},
        {"alignment": {"operator": "add", "modelling": "network"}},
    ],
)
def test_implicit_knowledge_without_a_name(description):
    with pytest.raises(ValueError, match="has implicit knowledge for which"):
        torch_names(with_implicit(PLAIN, description))


def test_another_start_and_one_place_alone_have_names():
    one = torch_names(with_implicit(PLAIN, {"alignment": {"operator": "add", "std": 0.05}}))
    assert sum(name.endswith(".implicit") for name in one) == 3


def test_other_anchors_are_refused():
    spec = MODELS["yolor_ssss_dwt"]
    shapes = expected_shapes(spec, 80)
    state_dict = {name: np.zeros(leaf.shape, np.float32) for name, leaf in shapes.items()}
    state_dict |= torch_constants(spec)
    from_torch(spec, state_dict)
    wider = state_dict | {"model.28.anchors": state_dict["model.28.anchors"] * 1.1}
    with pytest.raises(ValueError, match=r"1 differences:\n  model.28.anchors has other values"):
        from_torch(spec, wider)
