"""NMS by its definition: a hand-worked case, and ONNX's own on boxes of the 80th class."""

import jax
import numpy as np
import onnxruntime
import pytest

from yolor_jax.exports.certificate import _nearer, match
from yolor_jax.exports.onnx_graph.graph import Graph
from yolor_jax.exports.onnx_graph.suppress import suppress
from yolor_jax.exports.plain_nms import suppress_plainly
from yolor_jax.exports.stages import Found, suppress_decoded
from yolor_jax.inference.prediction import NmsConfig


def test_by_hand():
    boxes = np.float32([[[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 4], [50, 50, 60, 60]]])
    scores = np.float32([[[0.5, 0.3], [0.9, 0.1], [0.6, 0.2], [0.25, 0.2]]])
    found = suppress_plainly(boxes, scores, NmsConfig(0.25, 0.45))
    # Of the first class box 1 takes box 0 (IoU 0.9) and not box 2 (4 / 9); 0.25 is not above 0.25.
    np.testing.assert_array_equal(found.detected_scores, np.float32([[0.9, 0.6, 0.3]]))
    np.testing.assert_array_equal(found.detected_labels, [[0, 0, 1]])
    np.testing.assert_array_equal(found.detected_boxes[0], boxes[0, [1, 2, 0]])
    [best] = suppress_plainly(boxes, scores, NmsConfig(0.25, 0.45, max_detections=1))[1]
    np.testing.assert_array_equal(best, np.float32([0.9]))


def test_nothing_and_boxes_without_area():
    nothing = suppress_plainly(np.zeros((1, 3, 4)), np.zeros((1, 3, 2), np.float32), NmsConfig())
    assert nothing.detected_count == 0 and nothing.detected_boxes.shape == (1, 0, 4)
    points = suppress_plainly(np.zeros((1, 3, 4)), np.ones((1, 3, 1), np.float32), NmsConfig())
    assert points.detected_count == 3  # no IoU is above the threshold


@pytest.fixture(scope="module")
def clusters():
    """Boxes of 16 pixels, many about each centre, of the 80th class."""
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.uniform(50, 590, (150, 2)), 12, axis=0) + rng.normal(0, 3, (1800, 2))
    sides = 16 * np.exp(rng.normal(0, 0.15, (1800, 2)))
    boxes = np.float32(np.concatenate([centres - sides / 2, centres + sides / 2], axis=1))[None]
    scores = np.zeros((1, 1800, 80), np.float32)
    scores[0, :, 79] = rng.uniform(0.3, 1, 1800)
    return boxes, scores


def test_it_is_that_of_onnx_where_ours_rounds(clusters):
    nms = NmsConfig(0.25, 0.45, max_detections=1000)
    graph = Graph(dynamic_batch=False)
    inputs = [
        graph.input(name, array.shape, array.dtype)
        for name, array in zip(("boxes", "scores"), clusters, strict=True)
    ]
    outputs = {
        name: graph.name_output(tensor, name)
        for name, tensor in zip("bsln", suppress(graph, *inputs, nms), strict=True)
    }
    model = graph.model(outputs, metadata={}, producer="").SerializeToString()
    session = onnxruntime.InferenceSession(model)
    theirs = Found(*session.run(None, dict(zip(("boxes", "scores"), clusters, strict=True))))
    plain = suppress_plainly(*clusters, nms)
    ours = jax.device_get(jax.jit(suppress_decoded, static_argnames="nms")(*clusters, nms))
    pairs = match(plain, theirs)
    assert pairs.matched > 200 and pairs[1:] == (0, 0, 0.0, 0.0)
    assert sum(match(ours, theirs)[1:3]) > 0
    assert _nearer(ours, plain, theirs) == pairs
    # What neither of them finds is not explained.
    few = Found(*(array[:, :-1] for array in theirs[:3]), theirs[3] - 1)
    assert _nearer(ours, plain, few).network_only == 1
