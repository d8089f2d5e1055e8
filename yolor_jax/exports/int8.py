"""A graph of ONNX with its network in int8, by onnxruntime's own static quantisation.

    model = quantised(model, ("level0", "level1", "level2"), [{"images": batch}, ...])

Weights are int8, with a scale for each channel that a convolution gives. Activations are uint8,
with one scale and one zero for each tensor, from the least and the largest value that the
calibration shows. Quantised is what lies between the images and the last convolution before each
level. The last convolutions and all behind them stay in float32: 256 steps over the range of a
level's logits are steps of 0.1 and more, and 0.1 in a logit is up to 20 % of a side
(`detection.decode`); 256 steps over an image are several pixels each.
"""

import contextlib
import itertools
import logging
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from yolor_jax.errors import InputError
from yolor_jax.exports.exported import needing

Feed = Mapping[str, np.ndarray]


def quantised(
    model: onnx.ModelProto, levels: Sequence[str], feeds: Iterable[Feed]
) -> onnx.ModelProto:
    """Quantises the network of a model.

    Args:
        model: in float32.
        levels: names of the raw levels in its graph.
        feeds: inputs by name, at least one.

    Raises:
        ImportError: onnxruntime is not installed.
        InputError: there is no feed.
    """
    feeds = iter(feeds)
    first = next(feeds, None)
    if first is None:
        raise InputError("got no picture to calibrate with; int8 needs some that show its ranges")
    with needing("onnxruntime", "onnx"):
        from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self, feeds: Iterator[Feed]):
            self._feeds = feeds

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = pathlib.Path(folder, "int8.onnx")
        quantization.quantize_static(
            model,
            path,
            Reader(itertools.chain([first], feeds)),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=[
                *behind(model.graph, levels),
                *last_convolutions(model.graph, levels),
            ],
        )
        made = onnx.load(path)
    del made.metadata_props[:]  # the quantiser writes its own and loses those of the model
    made.metadata_props.extend(model.metadata_props)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def behind(graph: onnx.GraphProto, levels: Sequence[str]) -> list[str]:
    """Names of the nodes that compute from the levels: decoding, and NMS where it is inside."""
    known, names = set(levels), []
    for node in graph.node:
        if not known.isdisjoint(node.input):
            known |= set(node.output)
            names.append(node.name)
    return names


def last_convolutions(graph: onnx.GraphProto, levels: Sequence[str]) -> list[str]:
    """Names of the nodes from the last convolution before each level to the level."""
    producers = {name: node for node in graph.node for name in node.output}
    names = []
    for level in levels:
        node = producers[level]
        while node.op_type != "Conv":
            names.append(node.name)
            node = producers[node.input[0]]
        names.append(node.name)
    return names


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice to preprocess, which the root logger would print."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
