"""Every row of the paper's ablations is a network with the parameters that the paper's form has."""

import json

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.support.small_recipe import typed
from yolor_jax.cli.train import network
from yolor_jax.configs import ablations
from yolor_jax.models.detector import variable_shapes
from yolor_jax.runs import recipe

BASELINE = 52_908_989  # paper, table 7
WIDTHS = (256, 512, 1024)  # of the features before the prediction, by level
OUTPUTS = 3 * 85
SHARED = (128, 256, 512)  # of the levels that the tasks share
# The first two convolutions of YOLOv4-CSP in the place of ReOrg and one.
CSP = (27 * 32 + 9 * 32 * 64 + 2 * (32 + 64)) - (9 * 12 * 64 + 2 * 64)
ENTRY = {c: 9 * c * 2 * c + 2 * 2 * c for c in SHARED}  # a branch's convolution and batch norm
JDC = CSP + ENTRY[512] + (1024 + 1) * 80
JDE = CSP + sum(ENTRY[c] + (2 * c + 1) * 128 for c in SHARED)
MORE = {
    "baseline": 0,
    "JD": CSP,
    "JDC": JDC,
    "iJDC": JDC + sum(SHARED) + 512,  # detection, classification
    "JDE": JDE,
    "iJDE": JDE + 2 * sum(SHARED),  # detection, embedding
    "add_iFA": sum(WIDTHS),
    "multiply_iFA": sum(WIDTHS),
    "concat_iFA": sum(c + c * OUTPUTS for c in WIDTHS),  # the prediction reads [g(z); x]
    "add_iPR": 3 * OUTPUTS,
    "add_iFA_multiply_iPR": sum(WIDTHS) + 3 * OUTPUTS,  # 2,557: paper, table 7
    "multiply_iPR": 3 * OUTPUTS,
    "multiply_iFA_anchor": sum(3 * c for c in WIDTHS),
    "multiply_iPR_size": 3 * 3 * 2,  # levels, anchors, width and height
    "add_iFA_network": sum(2 * c + 2 * c * c for c in WIDTHS),  # z, W
    "add_iFA_factorization": sum(2 * c + 2 * c * c for c in WIDTHS),  # c, Z
}


def shapes(config):
    return variable_shapes(typed(config).network(80))["params"]


@pytest.mark.parametrize("row", ablations.ROWS)
def test_parameters_of_a_row(row):
    leaves = jax.tree.leaves(shapes(ablations.get_config(row)))
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == BASELINE + MORE[row]


@pytest.mark.parametrize("row", ablations.ROWS)
def test_a_row_survives_the_file_of_its_run(row, tmp_path):
    config = ablations.get_config(row)
    recipe.save(typed(config), tmp_path)
    loaded = recipe.load(tmp_path)
    assert loaded.spec == typed(config).spec
    assert loaded.model.implicit == ablations.ROWS[row]["model.implicit"]
    assert json.dumps(loaded.identity()) == json.dumps(typed(config).identity())


def test_one_line_in_a_recipe_describes_a_network_in_depth(tmp_path):
    config = ablations.get_config()
    modelling = {"kind": "network", "hidden": (8, 4), "nonlinearity": "tanh", "prior": 3}
    config.model.implicit = {"pyramid": {"operator": "add", "modelling": modelling}}
    spec = typed(config).spec
    assert spec.implicit.pyramid.modelling.hidden == (8, 4)
    recipe.save(typed(config), tmp_path)
    assert recipe.load(tmp_path).spec == spec


def test_none_keeps_what_the_model_has():
    config = ablations.get_config()
    config.model.update(ConfigDict({"name": "yolor_csp", "implicit": None}))
    assert typed(config).spec.implicit.alignment.operator == "add"
    config.model.implicit = {}
    assert typed(config).spec.implicit.alignment is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("baseline", "yolov4_csp_fast, no implicit knowledge"),
        ("add_iFA", "yolov4_csp_fast, implicit knowledge {'alignment': 'add'}"),
        ("iJDE", "yolov4_csp, also to embed, implicit knowledge {'branch': 'add'}"),
    ],
)
def test_a_run_says_what_its_row_is(row, said):
    assert network(typed(ablations.get_config(row))) == said


def test_an_unknown_row_is_named_with_all_there_are():
    with pytest.raises(ValueError, match=r"no ablation 'concat_iPR'; .*baseline, add_iFA, mult"):
        ablations.get_config("concat_iPR")
