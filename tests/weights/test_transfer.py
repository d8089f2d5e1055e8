"""What one network takes from another, and what is said of the rest."""

import jax
import numpy as np
import pytest

from yolor_jax import trees
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import with_implicit
from yolor_jax.weights.transfer import format_report, transfer


def spec_with(implicit):
    return with_implicit(find_spec("yolor_test"), implicit)


def filled(module, seed=1):
    """Variables with a different number at each place, as NumPy arrays."""
    rng = np.random.default_rng(seed)
    draw = lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype)  # noqa: E731
    return jax.tree.map(draw, variable_shapes(module))


def leaves_of(found, source):
    """Requires that what was loaded are the source's values, to the bit; returns the paths."""
    theirs = trees.flatten_by_path(source)
    for path, leaf in found.loaded.items():
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=path)
    return set(found.loaded)


def test_another_number_of_classes():
    source, target = build("yolor_test", 3), build("yolor_test", 6)
    variables = filled(source)
    found = transfer(source.spec, variables, target)
    reasons = {}
    for level, width in enumerate((16, 16, 16)):
        head = f"params/head/level{level}"
        reasons[f"{head}/conv/bias"] = "other shape [24] -> [33]"
        reasons[f"{head}/conv/kernel"] = f"other shape [1, 1, {width}, 24] -> [1, 1, {width}, 33]"
        reasons[f"{head}/implicit_after/z"] = "other shape [24] -> [33]"
    assert found.left == reasons
    everything = set(trees.flatten_by_path(variable_shapes(target)))
    assert leaves_of(found, variables) == everything - set(reasons)
    # What was loaded stands in a fresh tree, and the rest is as it was.
    fresh = filled(target, seed=2)
    started = trees.flatten_by_path(trees.replace(fresh, found.loaded))
    for path, leaf in trees.flatten_by_path(fresh).items():
        np.testing.assert_array_equal(started[path], found.loaded.get(path, leaf))


def test_the_report():
    source, target = build("yolor_test", 3), build(spec_with({"branch": "add"}), 3)
    found = transfer(source.spec, filled(source), target)
    lines = format_report(found).splitlines()
    paths = trees.flatten_by_path(variable_shapes(target))
    parts = [path.split("/")[1] for path in paths]
    counts = {part: parts.count(part) for part in ("backbone", "neck", "head")}
    assert [" ".join(line.split()) for line in lines] == [
        f"backbone {counts['backbone']} of {counts['backbone']} loaded",
        f"head {counts['head']} of {counts['head']} loaded",
        f"neck {counts['neck'] - 3} of {counts['neck']} loaded",
        *(f"params/neck/output{i}/implicit_before/z not in the checkpoint" for i in range(3)),
        *(
            f"params/head/level{i}/implicit_{place}/z unused"
            for i in range(3)
            for place in ("after", "before")
        ),
    ]


MLP = {"kind": "network", "hidden": [16], "prior": 12}
FACTORS = {"kind": "factorization", "atoms": 5}


@pytest.mark.parametrize(
    ("there", "here", "reason"),
    [
        ("add", "multiply", "other knowledge add, all, vector -> multiply, all, vector"),
        ({"modelling": MLP}, {"modelling": MLP | {"nonlinearity": "tanh"}},
         "other knowledge add, all, network, hidden=(16,) -> "
         "add, all, network, hidden=(16,), nonlinearity=tanh"),
        ({"modelling": FACTORS}, {"modelling": FACTORS | {"nonnegative": True}},
         "other knowledge add, all, factorization -> add, all, factorization, nonnegative=True"),
        ({"modelling": FACTORS}, {"modelling": FACTORS | {"sparsity": 0.1}}, None),
        ({"modelling": {"kind": "network"}}, {"modelling": {"kind": "network", "prior": 32}}, None),
        ({"std": 0.1}, "add", None),
    ],
)  # fmt: skip
def test_knowledge_of_another_kind_is_not_taken_although_its_shape_fits(there, here, reason):
    source, target = (build(spec_with({"alignment": what}), 3) for what in (there, here))
    assert trees.differences(variable_shapes(source), variable_shapes(target)) == []
    found = transfer(source.spec, filled(source), target)
    assert set(found.left.values()) == ({reason} if reason else set())
    assert set(found.left) == (
        set(trees.select(variable_shapes(target), "implicit")) if reason else set()
    )


def test_knowledge_is_taken_whole_or_not_at_all():
    """Of z and W only W depends on the number of classes, but it is drawn to fit the z it has."""
    spec = spec_with({"refinement": {"operator": "multiply", "modelling": MLP}})
    found = transfer(spec, filled(build(spec, 3)), build(spec, 6))
    reasons = {p: r for p, r in found.left.items() if p.startswith("params/head/level1/implicit")}
    assert reasons == {
        "params/head/level1/implicit_after/w1": "other shape [16, 24] -> [16, 33]",
        "params/head/level1/implicit_after/w0": "the rest of this implicit knowledge starts anew",
        "params/head/level1/implicit_after/z": "the rest of this implicit knowledge starts anew",
    }


def test_dtypes_are_those_of_the_network_that_takes_them():
    module = build("yolor_test", 3)
    halves = jax.tree.map(lambda x: x.astype(np.float16), filled(module))
    found = transfer(module.spec, halves, module)
    assert {leaf.dtype for leaf in found.loaded.values()} == {np.dtype(np.float32)}
    leaves_of(found, halves)


def test_weights_that_are_of_no_use_get_a_sentence():
    module = build("yolor_test", 3)
    variables = jax.tree.map(np.abs, filled(module))
    with pytest.raises(ValueError, match=r"are folded: .* give the checkpoint that they were"):
        transfer(module.spec, fold(module.spec, variables), module)
    other = {"params": {"encoder": {"kernel": np.zeros(3)}}, "batch_stats": {}}
    with pytest.raises(ValueError, match=r"nothing of .* fits yolor_test"):
        transfer(module.spec, other, module)
