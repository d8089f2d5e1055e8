"""How far a run is, whether it is the one that is asked for, and that runs of a seed are pairs."""

import jax
import numpy as np
import pytest

from tests.support.planned import leave, planned
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.ablation.plan import standing
from yolor_jax.errors import InputError
from yolor_jax.runs.start import first_state
from yolor_jax.training import mesh as meshes


def test_standing(tmp_path):
    run = planned(tmp_path)
    assert standing(run) == "missing"
    leave(run, None)
    assert standing(run) == "begun"
    leave(planned(tmp_path, seed=1), [0.5])
    assert standing(planned(tmp_path, seed=1)) == "finished"


def test_a_run_of_other_settings_is_refused(tmp_path):
    leave(planned(tmp_path), [0.5])
    other = planned(tmp_path)
    data = other.recipe.with_changes(data={"eval_split": "test"})
    for recipe, sentence in [
        (other.recipe.with_changes(epochs=3.0), r"seed0 holds a run with epochs = 2.0, and 3.0 is"),
        (
            other.recipe.with_changes(eval={"recalibrate": 8}),
            "eval.recalibrate = 0, and 8 is asked",
        ),
        (data, "data.eval_split = validation, and test is asked for; give that, or another --work"),
    ]:
        with pytest.raises(InputError, match=sentence):
            standing(other._replace(recipe=recipe))


def test_what_decides_nothing_may_differ(tmp_path):
    run = planned(tmp_path)
    leave(run, [0.5])
    recipe = run.recipe.with_changes(log_every=7, data={"threads": 2})
    assert standing(run._replace(recipe=recipe)) == "finished"


def test_lists_and_tuples_are_the_same(tmp_path):
    network = {"operator": "add", "modelling": {"kind": "network", "hidden": (64,)}}
    run = planned(tmp_path, implicit={"alignment": network})
    leave(run, [0.5])
    assert standing(run) == "finished"


def test_anchors_that_the_run_found_are_those_asked_for(tmp_path):
    anchors = [[[8.0, 8.0]] * 3] * 3
    leave(planned(tmp_path, anchors=anchors), [0.5])
    assert standing(planned(tmp_path, anchors="auto")) == "finished"
    with pytest.raises(InputError, match=r"model.anchors = \[\[\[8.0"):
        standing(planned(tmp_path))


@pytest.mark.long  # two networks are compiled
def test_runs_of_a_seed_start_from_the_same_weights():
    """Wherever shapes allow: what a row adds or widens is new, all else is equal to the bit."""
    places = {"branch": "add", "alignment": "concat", "refinement": "multiply"}
    alone, with_all = _weights({}), _weights({"implicit": places, "tasks": ("classify", "embed")})
    assert alone.keys() < with_all.keys()
    widened = [path for path in alone if alone[path].shape != with_all[path].shape]
    assert widened == [f"head/level{level}/conv/kernel" for level in range(3)]
    for path in alone.keys() - set(widened):
        np.testing.assert_array_equal(alone[path], with_all[path], err_msg=path)


def _weights(model):
    config = small_recipe("shapes")
    config.model.update({"implicit": {}} | model)
    recipe = typed(config)
    module, length = recipe.network(3), recipe.length(16)
    params = first_state(recipe, module, length, meshes.make_mesh()).params
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
