"""NMS as nodes of a graph, by ONNX's own NonMaxSuppression.

ONNX gives what it keeps as rows (image, class, box) of unknown number. They are scattered into a
table of all scores, whose best D of each image are the result: the same shapes as
`detection.nms` has, whatever the number of images.
"""

import numpy as np

from yolor_jax.exports.onnx_graph.graph import Graph, Tensor
from yolor_jax.inference.prediction import NmsConfig

INT64, FLOAT = np.dtype("int64"), np.dtype("float32")


def suppress(graph: Graph, boxes: Tensor, scores: Tensor, nms: NmsConfig) -> list[Tensor]:
    """Adds NMS to a graph.

    Args:
        graph: that the tensors are in.
        boxes: [B, N, 4], left, top, right, bottom.
        scores: [B, N, K].
        nms: what is a detection. All candidates take part, whatever ``max_candidates`` is.

    Returns:
        What `exports.stages.Found` has: boxes [B, D, 4], scores [B, D], labels [B, D] and counts
        [B], the last two int32.
    """
    graph.scope = "nms"
    batch, predictions, classes = scores.shape
    depth = min(nms.max_detections, predictions * classes)

    def ints(*values: int) -> str:
        return graph.constant(np.array(values, np.int64))

    def floats(*values: float) -> str:
        return graph.constant(np.array(values, np.float32))

    by_class = graph.node("Transpose", [scores.name], perm=[0, 2, 1])  # [B, K, N]
    kept = graph.node(  # [M, 3]: image, class, prediction
        "NonMaxSuppression",
        [boxes.name, by_class, ints(depth), floats(nms.iou_threshold), floats(nms.score_threshold)],
    )
    best = graph.node("GatherND", [by_class, kept])  # [M]
    nothing = graph.node("Mul", [by_class, graph.constant(np.zeros((), np.float32))])
    table = graph.node("ScatterND", [nothing, kept, best])  # [B, K, N]
    flat = graph.node("Reshape", [table, ints(0, -1)])
    found = graph.node("TopK", [flat, ints(depth)], outputs=2, axis=1)  # scores [B, D]
    where = f"{found}.1"  # class * N + prediction
    number = graph.constant(np.array(predictions, np.int64))
    labels = graph.node("Div", [where, number])
    rows = graph.node("Unsqueeze", [graph.node("Mod", [where, number]), ints(2)])  # [B, D, 1]
    corners = graph.node("GatherND", [boxes.name, rows], batch_dims=1)  # [B, D, 4]
    real = graph.node("Greater", [found, floats(0.0)])
    as_int, as_float = (graph.node("Cast", [real], to=to) for to in (6, 1))  # int32, float32
    labels = graph.node("Mul", [graph.node("Cast", [labels], to=6), as_int])
    columns = graph.node("Unsqueeze", [as_float, ints(2)])
    count = graph.node("ReduceSum", [as_int, ints(1)], keepdims=0)
    return [
        Tensor(name, shape, tuple(range(len(shape))), dtype)
        for name, shape, dtype in (
            (graph.node("Mul", [corners, columns]), (batch, depth, 4), FLOAT),
            (found, (batch, depth), FLOAT),
            (labels, (batch, depth), np.dtype("int32")),
            (count, (batch,), np.dtype("int32")),
        )
    ]
