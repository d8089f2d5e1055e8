"""The recipe that adapts a network by its z: what each row trains, and what a run of it leaves."""

import re

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.saved_run import META, save_run
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.configs import implicit_tuning
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.preparation import painting, shapes
from yolor_jax.runs import training
from yolor_jax.runs.opening import keep_knowledge, load
from yolor_jax.trees import flatten_by_path

ALIGNMENT = {f"head/level{i}/implicit_before/z" for i in range(3)}
REFINEMENT = {f"head/level{i}/implicit_after/z" for i in range(3)}
HEAD = {f"head/level{i}/conv/{leaf}" for i in range(3) for leaf in ("kernel", "bias")}
PYRAMID = {
    "neck/spp/implicit_before/z",
    *(f"neck/topdown{i}/csp/enter/implicit_before/z" for i in (0, 1)),
    *(f"neck/bottomup{i}/csp/enter/implicit_before/z" for i in (1, 2)),
}
TRAINED = {
    "implicits": ALIGNMENT | REFINEMENT,
    "add_pyramid": ALIGNMENT | REFINEMENT | PYRAMID,
    "multiply_pyramid": ALIGNMENT | REFINEMENT | PYRAMID,
    "head": HEAD,
    "new_head": HEAD | ALIGNMENT | REFINEMENT,
    "new_head_add_pyramid": HEAD | ALIGNMENT | REFINEMENT | PYRAMID,
    "new_head_multiply_pyramid": HEAD | ALIGNMENT | REFINEMENT | PYRAMID,
}


def trained_paths(row):
    config = implicit_tuning.get_config(row)
    spec = with_implicit(MODELS["yolor_nano"], config.model.to_dict()["implicit"])
    paths = set(flatten_by_path(variable_shapes(build(spec, 6))["params"]))
    freeze = config.optim.freeze
    return paths, {path for path in paths if not freeze or not re.search(freeze, path)}


@pytest.mark.parametrize("row", implicit_tuning.ROWS)
def test_what_a_row_trains(row):
    paths, trained = trained_paths(row)
    norms = {path for path in paths if "/bn/" in path}
    assert trained == (TRAINED | {"norms": norms, "everything": paths})[row]


def test_an_unknown_row_is_named_with_all_there_are():
    with pytest.raises(ValueError, match="no row 'all'; expected one of implicits, add_pyramid"):
        implicit_tuning.get_config("all")


@pytest.mark.long
def test_a_z_that_was_tuned_is_kept_and_gives_the_tuned_network(tmp_path):
    """In a place that the given network lacks, too, where it begins without effect."""
    night = shapes.prepare(
        tmp_path, name="shapes_night", sizes={"train": 8, "validation": 8}, progress=False
    )
    given = random_leaves(variable_shapes(build("yolor_test", 6)))
    classes = {"num_classes": 6, "class_names": list(painting.CLASS_NAMES)}
    save_run(tmp_path / "day", given, meta=META | classes)
    config, row = small_recipe(night), implicit_tuning.get_config("multiply_pyramid")
    config.epochs, config.init = 3.0, str(tmp_path / "day")
    config.optim.warmup_min_steps = 1
    config.model.implicit, config.optim.freeze = row.model.implicit, row.optim.freeze
    training.train(typed(config), tmp_path / "night")

    tuned = load(tmp_path / "night")
    keep_knowledge(tmp_path / "day", "night", tuned)
    got = load(tmp_path / "day", knowledge="night")
    jax.tree.map(np.testing.assert_array_equal, got.variables["params"], tuned.variables["params"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        got.variables["batch_stats"],
        tuned.variables["batch_stats"],
    )
    z = got.variables["params"]["neck"]["spp"]["implicit_before"]["z"]
    assert np.any(z != 1) and np.allclose(z, 1, atol=0.1)
