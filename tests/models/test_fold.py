"""The folded network equals the trained one, for every form of implicit knowledge."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest

from tests.support import golden_models
from tests.support.leaves import random_leaves
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import explain, fold, fold_unit, format_rules
from yolor_jax.models.spec import Implicits, ModelSpec, Stage, with_implicit
from yolor_jax.models.zoo import ANCHORS_NANO, MODELS
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.nn.implicit import Factorization, Network, Vector
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.trees import differences, flatten_by_path

IMAGES = np.random.default_rng(1).random((2, 64, 96, 3))
MODELLINGS = (
    Vector(),
    Network(),
    Network(hidden=(3,), nonlinearity="tanh", prior=2),
    Factorization(),
    Factorization(atoms=2, nonnegative=True),
)
SETTINGS = hypothesis.settings(
    deadline=None,
    derandomize=True,
    phases=[hypothesis.Phase.generate],  # to shrink a network takes minutes of compiling
)
SCOPES = ("all", "anchor", "size")


def op_by_op(function):
    """Instead of `jax.jit`, for many networks: the operations that they share are compiled once."""
    return function


def logits(spec, variables, dtype, *, fused, program=jax.jit):
    variables = jax.tree.map(lambda a: jnp.asarray(a, dtype), variables)
    module = build(spec, num_classes=3, dtype=dtype, fused=fused)
    return jax.tree.leaves(program(module.apply)(variables, jnp.asarray(IMAGES, dtype)))


def name(form):
    """A short name of a test's parameter."""
    return f"{form.operator}-{form.modelling}-{form.scope}" if form else "none"


def knowledge(operators, scopes, modellings=MODELLINGS):
    """None and every combination."""
    forms = itertools.product(operators, modellings, scopes)
    return [None, *(Knowledge(*form) for form in forms)]


BEFORE = knowledge(("add", "multiply", "concat"), ("all", "anchor"))
AFTER = knowledge(("add", "multiply"), SCOPES)


def require_exact_fold_of_a_unit(before, after, kernel, stride, norm, activation):
    """In float64, on a map whose border is a large part of it."""
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 6, 4)))
        unit = ConvUnit(
            14,  # of two anchors with seven outputs each
            kernel,
            stride,
            activation,
            norm,
            bias=not norm,
            before=before,
            after=after,
            anchors=2,
            dtype=x.dtype,
        )
        shapes = jax.eval_shape(lambda x: unit.init(jax.random.key(0), x, train=False), x)
        variables = random_leaves(shapes, dtype=np.float64)
        folded, _ = fold_unit(
            variables["params"],
            variables.get("batch_stats", {}),
            before=before,
            after=after,
            anchors=2,
            epsilon=unit.epsilon,
        )
        fused = unit.clone(fused=True)
        want = unit.apply(jax.tree.map(jnp.asarray, variables), x, train=False)
        got = fused.apply({"params": jax.tree.map(jnp.asarray, folded)}, x, train=False)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("before", BEFORE[1:], ids=name)
def test_every_form_before_a_unit(before, kernel):
    require_exact_fold_of_a_unit(before, None, kernel, 1, norm=True, activation="silu")


@pytest.mark.parametrize("after", AFTER[1:], ids=name)
def test_every_form_behind_a_unit(after):
    require_exact_fold_of_a_unit(None, after, 1, 1, norm=False, activation="linear")


@hypothesis.settings(SETTINGS, max_examples=25)
@hypothesis.given(
    before=st.sampled_from(BEFORE),
    after=st.sampled_from(AFTER),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    norm=st.booleans(),
    activation=st.sampled_from(["silu", "mish", "linear"]),
)
def test_random_units(before, after, kernel, stride, norm, activation):
    require_exact_fold_of_a_unit(before, after, kernel, stride, norm, activation)


def optional(operators, scopes=("all",)):
    return st.sampled_from(knowledge(operators, scopes))


FIELDS = st.fixed_dictionaries(
    {
        "stem": st.sampled_from([(), ("space_to_depth",), ("haar_wavelet",)]),
        "stem_width": st.sampled_from([4, 6]),
        "repeats": st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 1)),
        "first_is_csp": st.booleans(),
        "neck_widths": st.sampled_from([(4, 6), (2, 4, 6)]),
        "neck_repeats": st.integers(0, 1),
        "down": st.sampled_from(["conv", "csp"]),
        "csp_leave": st.booleans(),
        "joint_norm": st.booleans(),
        "spp_repeats": st.integers(1, 2),
        "spp_pools_first": st.booleans(),
        "activation": st.sampled_from(["silu", "mish"]),
        "bn_epsilon": st.sampled_from([1e-4, 1e-3]),
        "tasks": st.sampled_from([(), ("classify",), ("classify", "embed")]),
        "pyramid": optional(("add", "multiply", "concat")),
        "branch": optional(("add", "multiply", "concat")),
        "alignment": optional(("add", "multiply", "concat"), ("all", "anchor")),
        "refinement": optional(("add", "multiply"), SCOPES),
    }
)


def spec_of(fields):
    fields = dict(fields)
    places = ("pyramid", "branch", "alignment", "refinement")
    implicit = Implicits(**{place: fields.pop(place) for place in places})
    csp, repeats = (fields.pop("first_is_csp"), True, True), fields.pop("repeats")
    stages = tuple(map(Stage, (4, 6, 8), repeats, csp))
    anchors = ANCHORS_NANO[: len(fields["neck_widths"])]
    return ModelSpec(name="random", stages=stages, anchors=anchors, implicit=implicit, **fields)


def require_exact_fold(spec, program=jax.jit):
    with jax.enable_x64(True):
        variables = random_leaves(variable_shapes(build(spec, num_classes=3)), dtype=np.float64)
        folded = fold(spec, variables)
        assert not [p for p in flatten_by_path(folded) if "implicit" in p or "/bn/" in p]
        trained = logits(spec, variables, jnp.float64, fused=False, program=program)
        fused = logits(spec, folded, jnp.float64, fused=True, program=program)
        for want, got in zip(trained, fused, strict=True):
            scale = max(1, np.abs(want).max())
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * scale)


@hypothesis.settings(SETTINGS, max_examples=3)
@hypothesis.given(fields=FIELDS)
def test_random_networks(fields):
    require_exact_fold(spec_of(fields))


@pytest.mark.long
@hypothesis.settings(SETTINGS, max_examples=30)
@hypothesis.given(fields=FIELDS)
def test_more_random_networks(fields):
    require_exact_fold(spec_of(fields), op_by_op)


def test_nano_in_float32():
    spec = MODELS["yolor_nano"]
    variables = random_leaves(variable_shapes(build(spec, num_classes=3)))
    trained = logits(spec, variables, jnp.float32, fused=False)
    folded = logits(spec, fold(spec, variables), jnp.float32, fused=True)
    for want, got in zip(trained, folded, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", [golden_models.parameter(name, name) for name in MODELS])
def test_nothing_is_left_of_implicits_and_statistics(name):
    spec = MODELS[name]
    shapes = variable_shapes(build(spec))
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    folded = fold(spec, zeros)
    assert folded.keys() == {"params"}
    paths = flatten_by_path(folded)
    assert not [path for path in paths if "implicit" in path or "/bn/" in path]
    assert not differences(folded, variable_shapes(build(spec, fused=True)))


def test_the_explanation_names_every_rule_and_every_affine():
    spec = MODELS["yolor_ssss_s2d"]
    shapes = variable_shapes(build(spec))
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)
    rules = explain(spec, zeros)
    norms = [path for path in flatten_by_path(shapes["batch_stats"]) if path.endswith("bn/mean")]
    joint = [path for path in norms if "join" in path]
    halves = [rule for rule in rules if "half of the joint" in rule.rule]
    whole = [rule for rule in rules if rule.rule == "batch norm into kernel and bias"]
    assert len(whole) == len(norms) - len(joint) and len(halves) == 2 * len(joint)
    assert [r.rule for r in rules if r.path == "head/level1"] == [
        "add before into the bias",
        "multiply after into kernel and bias",
    ]
    stays = [rule.path for rule in rules if "stays" in rule.rule]
    fused = flatten_by_path(variable_shapes(build(spec, fused=True)))
    assert [f"params/{p}/scale" for p in stays] == [p for p in fused if p.endswith("affine/scale")]
    assert f"{len(stays):5} x half of the joint batch norm stays as an affine" in format_rules(
        rules
    )


def test_a_folded_tree_goes_through_orbax(tmp_path):
    spec = MODELS["yolor_ssss_s2d"]
    folded = fold(spec, random_leaves(variable_shapes(build(spec, num_classes=3))))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "folded", folded)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "folded", folded)
    for path, leaf in flatten_by_path(restored).items():
        assert np.array_equal(leaf, flatten_by_path(folded)[path]), path


def test_variables_of_another_spec_are_refused():
    plain = MODELS["yolor_test"]
    described = {"alignment": {"operator": "add", "modelling": "network"}}
    other = with_implicit(plain, described)
    variables = random_leaves(variable_shapes(build(other, num_classes=3)))
    with pytest.raises(
        ValueError, match=r"those of yolor_test, \d+ differences:[\s\S]*w0 is unused"
    ):
        fold(plain, variables)
    with pytest.raises(ValueError, match="they have no head/level0"):
        fold(plain, {"batch_stats": {}})


def test_folding_twice_is_refused():
    spec = MODELS["yolor_test"]
    folded = fold(spec, random_leaves(variable_shapes(build(spec))))
    with pytest.raises(ValueError, match="folded already"):
        fold(spec, folded)
