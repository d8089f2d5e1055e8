"""The heads beyond detection: what they compute, whose leaves they have, and that they fold."""

import dataclasses
import itertools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.leaves import random_leaves
from yolor_jax.cli.main import main
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import explain, fold
from yolor_jax.models.implicits import find, representations
from yolor_jax.models.spec import Implicits, ModelSpec, Stage, with_implicit, with_tasks
from yolor_jax.models.zoo import ANCHORS_NANO, MODELS
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.nn.heads import ClassificationHead, EmbeddingHead
from yolor_jax.nn.implicit import Factorization, Network, Vector
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.runs.opening import load
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.names import torch_names
from yolor_jax.weights.store import save_variables
from yolor_jax.weights.transfer import transfer

BOTH = ("classify", "embed")
MODELLINGS = (
    Vector(),
    Network(),
    Network(hidden=(3,), nonlinearity="tanh", prior=2),
    Factorization(),
    Factorization(atoms=2, nonnegative=True),
)
SMALL = ModelSpec(
    name="small",
    stem_width=3,
    stages=(Stage(4, 0), Stage(5, 0)),
    neck_widths=(2, 3),
    neck_repeats=0,
    anchors=ANCHORS_NANO[:2],
    embedding=4,
)


def test_a_model_without_tasks_says_nothing_of_them():
    outputs = jax.eval_shape(
        build("yolor_test", 3).apply,
        variable_shapes(build("yolor_test", 3)),
        jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32),
    )
    assert outputs.classify is None and outputs.embed is None
    assert len(jax.tree.leaves(outputs)) == 3


def test_shapes_dtypes_and_paths():
    spec = with_tasks(MODELS["yolor_test"], ["classify", "embed"])
    module = build(spec, 3, dtype=jnp.bfloat16)
    shapes = variable_shapes(module)
    images = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32)
    outputs = jax.eval_shape(module.apply, shapes, images)
    assert outputs.classify.shape == (2, 3)
    assert [level.shape for level in outputs.embed] == [
        (2, 8, 12, 128), (2, 4, 6, 128), (2, 2, 3, 128),
    ]  # fmt: skip
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {jnp.dtype(jnp.bfloat16)}
    plain = flatten_by_path(variable_shapes(build("yolor_test", 3))["params"])
    more = set(flatten_by_path(shapes["params"])) - set(plain)
    entry = ("entry/conv/kernel", "entry/bn/scale", "entry/bn/bias")
    leaves = (*entry, "predict/conv/kernel", "predict/conv/bias")
    branches = ("classify", *(f"embed/level{i}" for i in range(3)))
    assert more == {f"{branch}/{leaf}" for branch in branches for leaf in leaves}


def test_classification_by_hand():
    """Mean over the map of silu(BN(W * x)), then a matrix and a bias; 3x3 kernels of one tap."""

    def conv(*args, **kwargs):
        return ConvUnit(*args, epsilon=0.0, **kwargs)

    head = ClassificationHead(2, conv)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    variables = random_leaves(
        jax.eval_shape(lambda x: head.init(jax.random.key(0), x, train=False), x)
    )
    entry, predict = variables["params"]["entry"], variables["params"]["predict"]["conv"]
    centre = np.zeros_like(entry["conv"]["kernel"])
    centre[1, 1] = entry["conv"]["kernel"][1, 1]
    entry["conv"]["kernel"] = centre
    stats = variables["batch_stats"]["entry"]["bn"]
    y = (x @ centre[1, 1] - stats["mean"]) / np.sqrt(stats["var"])
    y = y * entry["bn"]["scale"] + entry["bn"]["bias"]
    y = (y / (1 + np.exp(-y))).mean(axis=(1, 2))
    want = y @ predict["kernel"][0, 0] + predict["bias"]
    got = jax.jit(lambda v, x: head.apply(v, x, train=False))(variables, x)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


def test_each_cell_has_its_own_embedding():
    """A pixel moves the vectors of the 3x3 cells around it and no others."""
    head = EmbeddingHead(4, ConvUnit)
    levels = [jnp.ones((1, 6, 5, 2)), jnp.ones((1, 3, 3, 3))]
    apply = jax.jit(lambda variables, levels: head.apply(variables, levels, train=False))
    variables = random_leaves(
        jax.eval_shape(lambda x: head.init(jax.random.key(0), x, train=False), levels)
    )
    before = apply(variables, levels)
    after = apply(variables, [levels[0].at[0, 3, 2].set(7), levels[1]])
    moved = np.abs(np.asarray(after[0] - before[0])[0]).max(axis=-1) > 1e-6
    want = np.zeros((6, 5), bool)
    want[2:5, 1:4] = True
    np.testing.assert_array_equal(moved, want)
    np.testing.assert_array_equal(after[1], before[1])


def test_each_branch_has_implicit_knowledge_of_its_own():
    spec = with_implicit(with_tasks(MODELS["yolor_test"], BOTH), {"branch": "concat"})
    params = random_leaves(variable_shapes(build(spec, 3)))["params"]
    places = [f"neck/output{i}" for i in range(3)] + ["classify/entry"]
    places += [f"embed/level{i}/entry" for i in range(3)]
    assert set(find(params)) == {f"{place}/implicit_before" for place in places}
    g = representations(spec, params)
    z = params["embed"]["level1"]["entry"]["implicit_before"]["z"]
    np.testing.assert_array_equal(g["embed/level1/entry/implicit_before"], z)


FORMS = [Knowledge(*form) for form in itertools.product(("add", "multiply", "concat"), MODELLINGS)]


@pytest.mark.parametrize("knowledge", FORMS[2::6], ids=str)
def test_the_fold_is_exact_in_every_branch(knowledge):
    require_exact_fold_of_branches(knowledge)


@pytest.mark.long
@pytest.mark.parametrize("knowledge", FORMS, ids=str)
def test_the_fold_is_exact_in_every_branch_for_every_form(knowledge):
    require_exact_fold_of_branches(knowledge)


def require_exact_fold_of_branches(knowledge):
    with jax.enable_x64(True):
        spec = dataclasses.replace(SMALL, tasks=BOTH, implicit=Implicits(branch=knowledge))
        variables = random_leaves(variable_shapes(build(spec, 3)), dtype=np.float64)
        folded = fold(spec, variables)
        images = jnp.asarray(np.random.default_rng(1).random((2, 8, 12, 3)))
        outputs = [
            jax.tree.leaves(jax.device_get(jax.jit(module.apply)(given, images)))
            for module, given in (
                (build(spec, 3, dtype=jnp.float64), variables),
                (build(spec, 3, dtype=jnp.float64, fused=True), folded),
            )
        ]
    assert not [path for path in flatten_by_path(folded) if "implicit" in path or "/bn/" in path]
    assert len(outputs[0]) == 2 + 1 + 2
    for one, other in zip(*outputs, strict=True):
        assert np.std(one) > 1e-3
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-10 * max(1, np.abs(one).max()))
    rules = [
        rule
        for rule in explain(spec, variables)
        if rule.rule.startswith(f"{knowledge.operator} bef")
    ]
    assert {rule.path for rule in rules} == {
        "neck/output0", "neck/output1", "classify/entry", "embed/level0/entry",
        "embed/level1/entry",
    }  # fmt: skip


def test_a_file_carries_the_tasks_through_fold(tmp_path, capsys):
    spec = with_implicit(with_tasks(MODELS["yolor_test"], BOTH), {"branch": "add"})
    meta = {
        "model": "yolor_test",
        "tasks": list(BOTH),
        "implicit": {"branch": "add"},
        "num_classes": 2,
        "class_names": ["circle", "square"],
        "image_size": 64,
        "fused": False,
    }
    trained, folded = (str(tmp_path / f"{name}.safetensors") for name in ("trained", "folded"))
    save_variables(trained, random_leaves(variable_shapes(build(spec, 2))), meta)
    assert main(["fold", trained, folded]) == 0
    said = capsys.readouterr().out.splitlines()[-3]
    difference, largest = re.search(r"random image: (\S+) of (\S+)$", said).groups()
    assert float(difference) <= 1e-5 * float(largest)
    before, after = load(trained), load(folded)
    assert before.spec == after.spec == spec and after.fused
    assert main(["implicit", trained]) == 0
    assert "embed/level2/entry/implicit_before" in capsys.readouterr().out


def test_a_detector_gives_what_it_has_to_one_of_more_tasks():
    source = build("yolor_test", 3)
    target = build(with_tasks(MODELS["yolor_test"], BOTH), 3)
    variables = random_leaves(variable_shapes(source))
    found = transfer(source.spec, variables, target)
    assert set(found.loaded) == set(flatten_by_path(variables))
    assert {path.split("/")[1] for path in found.left} == set(BOTH)


def test_the_summary_counts_every_branch(capsys):
    asked = ["--tasks", *BOTH, "--implicit", '{"branch": "add"}', "--classes", "3", "--json"]
    assert main(["summary", "yolor_test", *asked, "--image-size", "64"]) == 0
    said = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in said["rows"]}
    spec = with_implicit(with_tasks(MODELS["yolor_test"], BOTH), {"branch": "add"})
    leaves = jax.tree.leaves(variable_shapes(build(spec, 3))["params"])
    assert said["total"]["parameters"] == sum(leaf.size for leaf in leaves)
    widths = spec.neck_widths
    assert said["total"]["implicit_parameters"] == 2 * sum(widths) + widths[-1]
    assert rows["classify/entry"]["implicit_parameters"] == widths[-1]
    assert rows["embed/level0"]["output_shape"] == [1, 8, 8, 128]


def test_wrong_tasks(capsys):
    with pytest.raises(ValueError, match="no task 'segment'; expected one of classify, embed"):
        with_tasks(MODELS["yolor_test"], ["segment"])
    with pytest.raises(ValueError, match=r"\('embed', 'embed'\).*expected each task once"):
        with_tasks(MODELS["yolor_test"], ["embed", "embed"])
    with pytest.raises(ValueError, match="got the tasks 'embed'; expected a list"):
        with_tasks(MODELS["yolor_test"], "embed")
    with pytest.raises(ValueError, match="has the tasks embed, for whose parameters"):
        torch_names(with_tasks(MODELS["yolor_csp"], ["embed"]))
    assert main(["summary", "yolor_test", "--tasks", "segment"]) == 2
    assert "no task 'segment'" in capsys.readouterr().err
