"""A run that starts from given weights: what its first state holds and what is said of it."""

import jax
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from tests.support.small_recipe import small_recipe, train, typed
from yolor_jax.errors import MENDABLE
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.preparation import shapes
from yolor_jax.runs import start
from yolor_jax.training.checkpoints.loading import load_variables
from yolor_jax.training.mesh import make_mesh
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.store import save_variables


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A TFDS directory with a few shapes of 6 classes."""
    sizes = {"train": 16, "validation": 8}
    return shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture
def config(data):
    return small_recipe(data)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A file with a network of 3 classes, and its variables."""
    folder = tmp_path_factory.mktemp("given")
    module = build("yolor_test", 3)
    variables = random_leaves(variable_shapes(module))
    meta = {
        "model": "yolor_test",
        "implicit": None,
        "num_classes": 3,
        "class_names": ["a", "b", "c"],
        "image_size": 64,
        "fused": False,
    }
    save_variables(folder / "trained.safetensors", variables, meta)
    folded = fold(module.spec, variables)
    save_variables(folder / "folded.safetensors", folded, meta | {"fused": True})
    return folder, variables


@pytest.fixture
def first_state(config):
    """A function that gives the state before the first step, and what was said of it."""

    def start_run():
        recipe, said = typed(config), []
        module = recipe.network(6)
        state = start.first_state(recipe, module, recipe.length(16), make_mesh(), said.append)
        return state, "\n".join(said)

    return start_run


def test_a_run_starts_from_the_weights_of_a_file(config, given, first_state):
    fresh = jax.device_get(first_state()[0])
    config.init = str(given[0] / "trained.safetensors")
    state, told = first_state()
    theirs = flatten_by_path(given[1])
    left = []
    for collection in ("params", "batch_stats"):
        ours = flatten_by_path({collection: jax.device_get(getattr(state, collection))})
        start = flatten_by_path({collection: getattr(fresh, collection)})
        average = flatten_by_path({collection: jax.device_get(getattr(state, f"ema_{collection}"))})
        for path, leaf in ours.items():
            fits = theirs[path].shape == leaf.shape
            left += [] if fits else [path]
            np.testing.assert_array_equal(leaf, theirs[path] if fits else start[path], path)
            np.testing.assert_array_equal(average[path], leaf, path)
    said = f"{told}\n".partition(f"starting from {config.init}:\n")[2]
    assert all(f"\n{path} " in said for path in left) and len(left) == 9
    assert "backbone " in said and "other shape [24] -> [33]\n" in said
    # Whole on every device, in a buffer of its own, since the step donates its state.
    leaves = jax.tree.leaves(state)
    assert all(len(leaf.sharding.device_set) == jax.device_count() for leaf in leaves)
    buffers = [leaf.addressable_shards[0].data.unsafe_buffer_pointer() for leaf in leaves]
    assert len(set(buffers)) == len(buffers)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folded.safetensors", "are folded"),
        ("gone.safetensors", "no such file or folder: .*gone.safetensors"),
        (".", "no checkpoint in"),
    ],
)
def test_weights_to_start_from_that_are_of_no_use(config, given, tmp_path, name, sentence):
    config.init = str(given[0] / name)
    with pytest.raises(MENDABLE, match=sentence):
        train(config, tmp_path / "run")


@pytest.mark.long
def test_a_part_that_was_given_and_frozen_is_the_same_at_the_end(config, given, tmp_path, capsys):
    config.init = str(given[0] / "trained.safetensors")
    config.optim.freeze = "^backbone/"
    train(config, tmp_path)
    count = sum(leaf.size for leaf in jax.tree.leaves(given[1]["params"]["backbone"]))
    assert f" parameters, {count:,} of them frozen" in capsys.readouterr().out
    variables, meta = load_variables(tmp_path)
    assert meta["run"]["init"] == config.init and meta["num_classes"] == 6
    theirs = flatten_by_path(given[1])
    for path, leaf in flatten_by_path(variables).items():
        same = leaf.shape == theirs[path].shape and (leaf == theirs[path]).all()
        assert same == ("/backbone/" in path), path
    train(config, tmp_path)  # continues, with the file gone or not
    out = capsys.readouterr().out
    assert "continuing at step 4 of 4" in out and "starting from" not in out
