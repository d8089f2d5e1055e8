"""Finding, reading, replacing and penalising the implicit knowledge of a network."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax import trees
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.implicits import (
    between,
    distances,
    effective_rank,
    effective_ranks,
    find,
    representations,
    sparsity_penalty,
    wants_sparsity,
    without_effect,
)
from yolor_jax.models.spec import TYPES, with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.nn.implicit import MODELLINGS, Network
from yolor_jax.nn.knowledge import Knowledge

EVERYWHERE = {
    "pyramid": {"operator": "add", "modelling": "network"},
    "branch": "concat",
    "alignment": {"operator": "multiply", "scope": "anchor"},
    "refinement": {"operator": "multiply", "scope": "size"},
}
DEEP = {"kind": "network", "hidden": [4], "nonlinearity": "tanh"}
SPARSE = {"kind": "factorization", "atoms": 3, "sparsity": 0.5}


def network(description):
    spec = with_implicit(MODELS["yolor_test"], description)
    return spec, random_leaves(variable_shapes(build(spec, num_classes=3)))["params"]


def test_every_place_is_found():
    _, params = network(EVERYWHERE)
    levels = range(3)
    assert set(find(params)) == {
        "neck/spp/implicit_before",
        *(f"neck/topdown{i}/csp/enter/implicit_before" for i in (0, 1)),
        *(f"neck/bottomup{i}/csp/enter/implicit_before" for i in (1, 2)),
        *(f"neck/output{i}/implicit_before" for i in levels),
        *(f"head/level{i}/implicit_before" for i in levels),
        *(f"head/level{i}/implicit_after" for i in levels),
    }
    assert find({"head": {"conv": {"kernel": 1}}}) == {}


def test_representations():
    spec, params = network(EVERYWHERE)
    g = representations(spec, params)
    leaves = params["neck"]["spp"]["implicit_before"]
    np.testing.assert_allclose(g["neck/spp/implicit_before"], leaves["z"] @ leaves["w0"], rtol=1e-6)
    assert g["neck/output1/implicit_before"].shape == (8,)
    assert g["head/level1/implicit_before"].shape == (3, 16)
    size = g["head/level0/implicit_after"]
    assert size.shape == (3, 8)
    np.testing.assert_array_equal(size[:, 2:4], params["head"]["level0"]["implicit_after"]["z"])
    assert np.all(np.delete(size, [2, 3], axis=1) == 1)


def test_distances_from_the_neutral_element():
    """3, 4 and zeros away; of the scope "size" what does not act is not counted."""
    spec, params = network({"alignment": "add", "refinement": EVERYWHERE["refinement"]})
    found = find(params)
    z = np.zeros_like(found["head/level0/implicit_before"]["z"])
    z[:2] = 3, 4
    size = np.ones_like(found["head/level1/implicit_after"]["z"])
    size[0, 0] += 3
    params = trees.replace(
        params, {"head/level0/implicit_before/z": z, "head/level1/implicit_after/z": size}
    )
    moved = distances(spec, params)
    assert list(moved) == list(found)
    assert moved["head/level0/implicit_before"] == pytest.approx(5 / np.sqrt(z.size))
    assert moved["head/level1/implicit_after"] == pytest.approx(3 / np.sqrt(size.size))
    assert distances(*network({})) == {}


def test_without_effect_is_the_network_that_has_none():
    spec, params = network({place: EVERYWHERE[place] for place in EVERYWHERE if place != "branch"})
    statistics = random_leaves(variable_shapes(build(spec, num_classes=3)))["batch_stats"]
    neutral, without = without_effect(spec, params)
    none = with_implicit(spec, {})
    kept = {k: v for k, v in trees.flatten_by_path(params).items() if "/implicit_" not in k}
    stripped = flax.traverse_util.unflatten_dict(kept, sep="/")
    image = jnp.asarray(np.random.default_rng(0).random((1, 32, 32, 3), np.float32))

    def logits(spec, params):
        variables = jax.device_put({"params": params, "batch_stats": statistics})
        return jax.jit(build(spec, num_classes=3).apply)(variables, image).detect

    got, expected = logits(neutral, without), logits(none, stripped)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)


def test_what_was_concatenated_is_zero_without_effect():
    spec, params = network(EVERYWHERE | {"refinement": {"operator": "add", "modelling": SPARSE}})
    given, neutral = representations(spec, params), representations(*without_effect(spec, params))
    assert {path: g.shape for path, g in neutral.items()} == {p: g.shape for p, g in given.items()}
    assert np.all(neutral["neck/output1/implicit_before"] == 0)
    assert np.all(neutral["head/level1/implicit_before"] == 1)
    assert np.all(neutral["head/level1/implicit_after"] == 0)
    with pytest.raises(InputError, match="no implicit knowledge"):
        without_effect(with_implicit(spec, {}), {"head": {"conv": {"kernel": np.zeros(1)}}})


@pytest.mark.parametrize(
    ("matrix", "rank"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 2.0),  # singular values 1, 1
        ([[3.0, 4.0], [6.0, 8.0], [0.0, 0.0]], 1.0),  # one direction
        ([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 4 / 3**0.75),  # shares 3/4, 1/4
        ([[0.0, 0.0]], 0.0),
    ],
)
def test_effective_rank_by_hand(matrix, rank):
    assert effective_rank(np.array(matrix, np.float32)) == pytest.approx(rank, abs=1e-9)


def test_effective_rank_of_what_the_anchors_were_taught():
    """Of a refinement that adds what is 1 in another output for each anchor, three directions."""
    spec, params = network({"alignment": "add", "refinement": "add"})
    g = np.eye(3, 8, dtype=np.float32)
    same = np.ones((3, 8), np.float32)
    path = "head/level{}/implicit_after"
    leaves = {f"{path.format(i)}/z": z.reshape(-1) for i, z in ((0, g), (1, same), (2, 0 * same))}
    ranks = effective_ranks(spec, trees.replace(params, leaves))
    assert ranks == pytest.approx({path.format(i): rank for i, rank in ((0, 3), (1, 1), (2, 0))})


def test_half_way_between_two_z():
    """The middle of both g(z), whatever models them; the rest is that of the first."""
    spec, params = network(EVERYWHERE)
    other = random_leaves(variable_shapes(build(spec, num_classes=3)), seed=1)["params"]
    here, there = representations(spec, params), representations(spec, other)
    middle_spec, middle = between(spec, params, other, 0.25)
    got = representations(middle_spec, middle)
    for path, g in got.items():
        np.testing.assert_allclose(g, 0.75 * here[path] + 0.25 * there[path], atol=1e-5)
    kept = {k: v for k, v in trees.flatten_by_path(params).items() if "/implicit_" not in k}
    assert kept.items() <= trees.flatten_by_path(middle).items()
    assert representations(*between(spec, params, other, 1.0)).keys() == there.keys()


def test_two_z_of_other_shapes_have_nothing_between_them():
    spec, params = network({"alignment": "add"})
    other = random_leaves(variable_shapes(build(spec, num_classes=3)))["params"]
    del other["head"]["level2"]["implicit_before"]
    with pytest.raises(InputError, match=r"level2/implicit_before is missing"):
        between(spec, params, other, 0.5)
    with pytest.raises(InputError, match="no implicit knowledge"):
        between(spec, params, {}, 0.5)
    elsewhere, pyramid = network({"alignment": "add", "pyramid": "multiply"})
    with pytest.raises(InputError, match=r"z stands at neck/.*, where the model .* has none"):
        between(spec, params, pyramid, 0.5)
    with pytest.raises(InputError, match=r"neck/.*/implicit_before is missing"):
        between(elsewhere, pyramid, params, 0.5)
    _, modelled = network({"alignment": {"operator": "add", "modelling": "factorization"}})
    with pytest.raises(InputError, match=r"implicit_before has no 'z', but .*: it is modelled oth"):
        between(spec, params, modelled, 0.5)


def test_a_replaced_implicit_is_in_a_new_tree():
    _, params = network({"alignment": "add"})
    path = "head/level0/implicit_before/z"
    z = np.full(16, 7, np.float32)
    changed = trees.replace(params, {path: z})
    assert np.array_equal(trees.select(changed, path)[path], z)
    assert not np.array_equal(params["head"]["level0"]["implicit_before"]["z"], z)
    rest = trees.flatten_by_path(params) | {path: z}
    for name, leaf in trees.flatten_by_path(changed).items():
        assert leaf is rest[name]
    with pytest.raises(ValueError, match=r"level9/z is unused: got float32\[16\]"):
        trees.replace(params, {"head/level9/z": z})
    with pytest.raises(ValueError, match=r"z has shape \[3\]: expected \[16\]"):
        trees.replace(params, {path: z[:3]})


def test_sparsity_penalty_and_its_gradient():
    spec, params = network({"alignment": {"operator": "add", "modelling": SPARSE}})
    params = jax.tree.map(jnp.asarray, params)
    assert wants_sparsity(spec)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: sparsity_penalty(spec, p)))(params)
    coefficients = trees.select(params, "coefficients").values()
    assert value == pytest.approx(0.5 * sum(np.abs(c).sum() for c in coefficients))
    gradients = trees.flatten_by_path(gradient)
    for path, leaf in trees.flatten_by_path(params).items():
        want = 0.5 * np.sign(leaf) if path.endswith("coefficients") else np.zeros_like(leaf)
        np.testing.assert_array_equal(gradients[path], want)


def test_nothing_to_penalise():
    spec, params = network({"alignment": {"operator": "add", "modelling": "factorization"}})
    assert sparsity_penalty(spec, params) == 0
    assert not wants_sparsity(spec)


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"iFA": "add"}, "no place of implicit knowledge 'iFA'; expected one of pyramid, branch,"),
        ({"alignment": "plus"}, "operator 'plus'; expected one of add, multiply, concat"),
        ({"alignment": {"op": "add"}}, "no field of implicit knowledge 'op'; expected one of oper"),
        ({"alignment": {"modelling": "lstm"}}, "no modelling 'lstm'; expected one of vector, net"),
        ({"alignment": {"modelling": {"atoms": 2}}}, "field of the modelling 'vector' 'atoms'"),
        ("add", "implicit knowledge is 'add'; expected a mapping such as"),
        ({"alignment": {"std": float("nan")}}, "got std = nan; expected at least 0"),
        ({"alignment": 3}, "implicit knowledge is described by 3; expected its operator, or a map"),
        ({"alignment": {"modelling": 3}}, "a modelling is described by 3; expected its kind"),
        ({"alignment": {"std": "a"}}, "got std = 'a'; expected one float"),
        ({"alignment": {"std": -1}}, "got std = -1.0; expected at least 0"),
        ({"branch": {"modelling": DEEP | {"hidden": "ab"}}}, "'ab'; expected one list of whole"),
        ({"branch": {"modelling": DEEP | {"hidden": [3, 0]}}}, r"got hidden\[1\] = 0; expected at"),
        ({"branch": {"modelling": DEEP | {"prior": 0}}}, "got prior = 0; expected at least 1"),
        ({"branch": {"modelling": SPARSE | {"atoms": 2.5}}}, "got atoms = 2.5; expected one int"),
        (
            {"branch": {"modelling": SPARSE | {"sparsity": -1}}},
            "sparsity = -1.0; expected at",
        ),
        ({"refinement": "concat"}, "would change the size of the output; use 'add' or 'multiply'"),
        ({"branch": {"scope": "anchor"}}, "'branch' has the scope 'anchor'; expected 'all'"),
        ({"alignment": {"scope": "size"}}, "'alignment' has the scope 'size'; expected 'all' or"),
    ],
)
def test_descriptions_that_make_no_sense(description, sentence):
    with pytest.raises(ValueError, match=sentence):
        with_implicit(MODELS["yolor_test"], description)


def test_params_of_another_spec_are_refused():
    spec, params = network({"branch": "add"})
    with pytest.raises(ValueError, match="no implicit knowledge at neck/output0/"):
        representations(MODELS["yolor_test"], params)
    with pytest.raises(ValueError, match=r"at params/.*; expected the params, not all variables"):
        representations(spec, {"params": params})


def test_every_field_has_its_type():
    kinds = [Knowledge, *MODELLINGS.values()]
    names = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert names - {"modelling"} == TYPES.keys()


def test_a_deep_network_from_a_recipe():
    spec, params = network({"branch": {"modelling": DEEP}, "alignment": "add"})
    assert spec.implicit.branch.modelling == Network(hidden=(4,), nonlinearity="tanh")
    assert set(find(params)["neck/output0/implicit_before"]) == {"z", "w0", "w1"}


def test_none_keeps_and_nothing_removes():
    spec = MODELS["yolor_test"]
    assert with_implicit(spec, None) is spec
    assert not find(variable_shapes(build(with_implicit(spec, {})))["params"])
    described = {"alignment": "add", "refinement": {"operator": "multiply"}, "branch": None}
    assert with_implicit(spec, described) == spec
