"""Each model of the zoo, with the golden weights, gives the outputs of the original.

golden/README.md, section 1: float32 to 5e-5 (decoded boxes 1e-5 relative and 1e-2 pixels), training
mode in float64 to 1e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import golden_models
from yolor_jax.detection.decode import decode
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import with_implicit
from yolor_jax.models.zoo import MODELS
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.convert import from_torch, to_torch
from yolor_jax.weights.names import torch_names


@pytest.fixture(
    scope="module",
    params=[golden_models.parameter(*names) for names in golden_models.NAMES.items()],
)
def model(golden, request):
    return golden_models.load(golden, request.param)


@pytest.fixture(scope="module")
def variables(model):
    variables, num_classes = from_torch(model.spec, model.state_dict)
    assert num_classes == 80
    return variables


@pytest.fixture(scope="module")
def apply(model):
    return jax.jit(build(model.spec).apply)


@pytest.fixture(scope="module")
def logits(model, variables, apply):
    return apply(variables, golden_models.images(model.facts["input"]["shape"])).detect


# The golden files have training mode for a second model of the paper's form too.
TRAINED = ["main__yolor_csp", "main__yolor_p6", "paper__yolor-ssss-s2d"]
each_form = pytest.mark.parametrize("model", golden_models.OF_EACH_FORM, indirect=True)


def require_close(got, want, tolerance=5e-5):
    got = golden_models.to_golden_layout(got)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


def test_facts(model):
    spec, facts = model.spec, model.facts
    shapes = variable_shapes(build(spec))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == facts["num_params"]
    assert spec.strides == tuple(facts["strides"])
    assert np.array_equal(spec.anchors, facts["anchors"])
    assert (spec.bn_epsilon, spec.bn_momentum) == (facts["bn_eps"], facts["bn_momentum"])
    assert spec.activation == facts["activation"][0].lower()


def test_state_dict_there_and_back(model, variables):
    """Every tensor of the original comes back bit by bit, in its shape."""
    exported = to_torch(model.spec, variables)
    assert exported.keys() == model.state_dict.keys()
    for name, want in model.state_dict.items():
        assert exported[name].flags.c_contiguous
        assert exported[name].dtype == want.dtype == np.float32
        assert np.array_equal(exported[name], want), name


def test_logits(model, logits):
    for level, got in enumerate(logits):
        require_close(got, model.arrays[f"level{level}"])


def test_decoded_boxes(model, logits):
    levels = []
    for level, (got, stride) in enumerate(zip(logits, model.spec.strides, strict=True)):
        decoded = decode((got,), anchors=(model.spec.anchors[level],), strides=(stride,))
        cells = [part.reshape(*got.shape[:4], -1) for part in decoded]
        rows = golden_models.to_golden_layout(np.concatenate(cells, axis=-1))
        levels.append(rows.reshape(len(rows), -1, rows.shape[-1]))
    want = model.arrays["decoded"]
    np.testing.assert_allclose(np.concatenate(levels, axis=1), want, rtol=1e-5, atol=1e-2)


@pytest.mark.long
def test_folded_logits(model, variables):
    fused = jax.jit(build(model.spec, fused=True).apply)
    x = golden_models.images(model.facts["input"]["shape"])
    for level, got in enumerate(fused(fold(model.spec, variables), x).detect):
        require_close(got, model.arrays[f"level{level}"])


@pytest.mark.long
@each_form
def test_logits_of_the_big_input(model, variables, apply):
    """Large enough that the pools of SPP differ on the deepest map."""
    logits = apply(variables, golden_models.images(model.facts["big"]["input"]["shape"])).detect
    deepest = len(logits) - 1
    require_close(logits[deepest], model.arrays[f"big_level{deepest}"])


@pytest.mark.long
@each_form
def test_fold_in_float64(model, variables):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
        x = np.asarray(golden_models.images(model.facts["input"]["shape"]), np.float64)
        trained = jax.jit(build(model.spec, dtype=jnp.float64).apply)(wide, x).detect
        fused = jax.jit(build(model.spec, dtype=jnp.float64, fused=True).apply)
        folded = fused(fold(model.spec, wide), x).detect
        for got, want in zip(folded, trained, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


@pytest.mark.long
@pytest.mark.parametrize("model", TRAINED, indirect=True)
def test_train_mode_in_float64(model, variables):
    """Batch statistics, running statistics and the norm of every gradient."""
    facts = model.facts["train"]
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        x = jnp.asarray(golden_models.images(facts["input"]["shape"]), jnp.float64)
        module = build(model.spec, dtype=jnp.float64)

        def loss(params):
            tree = {"params": params, "batch_stats": wide["batch_stats"]}
            outputs, updates = module.apply(tree, x, train=True, mutable=["batch_stats"])
            value = sum(jnp.mean(jnp.square(level)) for level in outputs.detect)
            return value, (outputs.detect, updates["batch_stats"])

        (value, (logits, stats)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            wide["params"]
        )
    assert value == pytest.approx(facts["loss_value_float64"], rel=1e-9)
    for level, got in enumerate(logits):
        require_close(got, model.arrays[f"train_level{level}"], 1e-5)

    names = torch_names(model.spec)
    paths = flatten_by_path({"params": gradients, "batch_stats": stats})
    for i, bn in enumerate(facts["bn_names"]):
        for kind, running in (("mean", "running_mean"), ("var", "running_var")):
            got = paths["/".join(names[f"{bn}.{running}"])]
            want = model.arrays[f"train_bn{i}_{kind}"]
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    norms = facts["grad_l2_norms"]
    assert len(norms) == len(flatten_by_path(gradients))
    for theirs, want in norms.items():
        got = np.linalg.norm(paths["/".join(names[theirs])])
        assert got == pytest.approx(want, rel=1e-5), theirs


@pytest.mark.parametrize(
    ("plain", "count", "implicit"),
    [("yolov4_csp_fast", 52_908_989, 2_557), ("yolov4_p6_light", 37_262_204, 2_812)],
)
def test_table_7(plain, count, implicit):
    """The paper's parameter counts without and with + iFA and x iPR."""

    def parameters(spec):
        leaves = jax.tree.leaves(variable_shapes(build(spec))["params"])
        return sum(leaf.size for leaf in leaves)

    spec = MODELS[plain]
    described = {"alignment": "add", "refinement": "multiply"}
    assert parameters(spec) == count
    assert parameters(with_implicit(spec, described)) == count + implicit
