"""The converter to ONNX, operation by operation: onnxruntime against JAX."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from yolor_jax.errors import InputError
from yolor_jax.exports.onnx_graph.convert import convert
from yolor_jax.exports.onnx_graph.graph import Graph
from yolor_jax.exports.onnx_graph.suppress import suppress
from yolor_jax.exports.stages import suppress_decoded
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.nn.activations import mish
from yolor_jax.nn.blocks import max_pool
from yolor_jax.nn.conv import append_ones
from yolor_jax.nn.resample import haar_wavelet, space_to_depth, upsample2

RNG = np.random.default_rng(0)
KERNEL = np.float32(RNG.normal(size=(3, 3, 3, 4)))
BIAS = np.float32(RNG.normal(size=4))


def graph_of(function, shape, *, dynamic_batch=True):
    """The model of a function of one float32 array whose batch is left open."""
    graph = Graph(dynamic_batch=dynamic_batch)
    x = graph.input("x", (1, *shape[1:]) if dynamic_batch else shape, np.dtype("float32"))
    results = convert(graph, function, x)
    outputs = {f"y{i}": graph.name_output(y, f"y{i}") for i, y in enumerate(results)}
    return graph.model(outputs, metadata={}, producer="")


def run(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


def convolved(x, stride=1):
    y = jax.lax.conv_general_dilated(
        x, KERNEL, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + jnp.broadcast_to(BIAS, y.shape)


FUNCTIONS = {
    "space_to_depth": space_to_depth,
    "haar_wavelet": haar_wavelet,
    "upsample2": upsample2,
    "max_pool": lambda x: max_pool(x, 5),
    "max_pool of stride 2": lambda x: max_pool(x, 2, 2),
    "append_ones": append_ones,
    "mish": mish,
    "silu": jax.nn.silu,
    "convolution": convolved,
    "stride": lambda x: convolved(x, 2),
    "nchw": lambda x: convolved(jnp.transpose(jnp.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1))),
    "two orders": lambda x: jnp.concatenate([convolved(x), x, 1 - x], axis=-1),
    "broadcast": lambda x: x[..., 0][..., None] * x + jnp.arange(3.0)[None, None, None],
    "head": lambda x: convolved(x).reshape(x.shape[0], -1, 2)[..., 1:] ** 2,
    "constants": lambda x: x + jnp.stack([jnp.float32(2), *jnp.arange(2.0)])[None, None, None],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dynamic_batch", [True, False])
def test_operations_are_those_of_jax(name, dynamic_batch):
    x = np.float32(RNG.normal(size=(2, 4, 6, 3)))
    model = graph_of(FUNCTIONS[name], x.shape, dynamic_batch=dynamic_batch)
    [y] = run(model, x)
    np.testing.assert_allclose(y, jax.jit(FUNCTIONS[name])(x), rtol=1e-5, atol=1e-5)


def test_a_bias_is_part_of_its_convolution_and_axes_move_once():
    def network(x):
        y = jax.nn.silu(convolved(x))
        return upsample2(max_pool(jnp.concatenate([y, y], axis=-1), 5))

    model = graph_of(network, (1, 4, 6, 3))
    count = collections.Counter(node.op_type for node in model.graph.node)
    assert count["Transpose"] == 2 and "Add" not in count and "Expand" not in count
    channels_first = graph_of(lambda x: network(x.transpose(0, 2, 3, 1)), (1, 3, 4, 6))
    assert [node.op_type for node in channels_first.graph.node].count("Transpose") == 1


def test_nothing_is_computed_that_nobody_reads():
    model = graph_of(lambda x: (jnp.tanh(x), x + 1)[1], (1, 4, 6, 3))
    assert [node.op_type for node in model.graph.node] == ["Add"]


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: jax.lax.cumsum(x, axis=1), "'cumsum'"),
        (lambda x: x**3, "a power of 3"),
        (lambda x: x.reshape(-1, 3), "a reshape of the batch"),
        (jnp.cumsum, "a reshape of the batch"),
    ],
)
def test_what_has_no_rule_is_named_with_its_line(function, named):
    with pytest.raises(InputError, match=named) as error:
        graph_of(lambda x: function(x), (1, 4, 6, 3))
    assert "test_onnx_graph.py:" in str(error.value)


@pytest.mark.parametrize("most", [2, 50])
def test_nms_is_ours(most):
    centres = RNG.uniform(20, 80, (2, 30, 2))
    sides = RNG.uniform(10, 30, (2, 30, 2))
    boxes = np.float32(np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1))
    scores = np.float32(RNG.uniform(size=(2, 30, 3)))
    scores[1] = 0  # an image without detections
    nms = NmsConfig(0.3, 0.4, max_detections=most)
    graph = Graph(dynamic_batch=True)
    inputs = [
        graph.input(name, (1, *array.shape[1:]), array.dtype)
        for name, array in (("boxes", boxes), ("scores", scores))
    ]
    names = ("b", "s", "l", "n")
    found = suppress(graph, *inputs, nms)
    outputs = {name: graph.name_output(x, name) for name, x in zip(names, found, strict=True)}
    model = graph.model(outputs, metadata={}, producer="")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    got = session.run(None, {"boxes": boxes, "scores": scores})
    ours = jax.jit(suppress_decoded, static_argnames="nms")
    expected = jax.device_get(ours(boxes, scores, nms))
    assert 0 < expected.detected_count[0] <= most and expected.detected_count[1] == 0
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(
            mine, theirs[:, : mine.shape[1]] if mine.ndim > 1 else theirs, atol=1e-5
        )
