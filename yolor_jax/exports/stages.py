"""What an exported file computes, in three stages: network, decoding, and NMS where it is inside.

    images -- network --> level0, level1, ... -- decode --> boxes, scores -- suppress --> detections

These are the borders at which `exports.certificate` compares a file with what is here.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.decode import Decoded, decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.exports.form import Form
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import Detector, normalise

DECODED = ("boxes", "scores")
DETECTED = ("detected_boxes", "detected_scores", "detected_labels", "detected_count")
"""Names of what the stages give."""


class Found(NamedTuple):
    """The detections of a batch as a file gives them.

    Attributes:
        detected_boxes: corners in pixels of the network input, not clipped; zeros behind the last.
        detected_scores: 0..1, falling; zeros behind the last.
        detected_labels: class numbers.
        detected_count: how many of the D rows of each image are detections.
    """

    detected_boxes: Float[Array, "B D 4"]
    detected_scores: Float[Array, "B D"]
    detected_labels: Int[Array, "B D"]
    detected_count: Int[Array, " B"]


class Stages(NamedTuple):
    """The functions of a file.

    Attributes:
        network: images as the form has them to logits of the levels, float32 [B, h, w, A, 5 + K].
        decode: levels to boxes_xyxy [B, N, 4] in pixels of the input and scores [B, N, K].
        suppress: boxes and scores to `Found`; None where NMS is outside.
    """

    network: Callable[[Array], tuple[Array, ...]]
    decode: Callable[[tuple[Array, ...]], tuple[Array, Array]]
    suppress: Callable[[Array, Array], Found] | None


def level_names(count: int) -> tuple[str, ...]:
    """Names of the raw levels, finest first."""
    return tuple(f"level{i}" for i in range(count))


def stages_of(module: Detector, variables: Mapping, form: Form) -> Stages:
    """The functions of a network.

    Args:
        module: the folded network.
        variables: its variables, NumPy arrays, which the functions hold as constants.
        form: of the file.
    """
    module = module.clone(dtype=jnp.dtype(form.float_dtype))
    # By default a GPU or TPU multiplies float32 with fewer bits than it has.
    precision = "highest" if form.float_dtype == "float32" else "default"
    variables = jax.tree.map(jnp.asarray, dict(variables))

    def network(images: Array) -> tuple[Array, ...]:
        if form.layout == "nchw":
            images = images.transpose(0, 2, 3, 1)
        if form.pixels == "uint8":
            images = normalise(images, module.dtype)
        with jax.default_matmul_precision(precision):
            levels = module.apply(variables, images, train=False).detect
        return tuple(level.astype(jnp.float32) for level in levels)

    def decode_levels(levels: tuple[Array, ...]) -> tuple[Array, Array]:
        decoded = decode(levels, anchors=module.spec.anchors, strides=module.spec.strides)
        scores = decoded.objectness[..., None] * decoded.probabilities
        return boxes.cxcywh_to_xyxy(decoded.boxes_cxcywh), scores

    def suppress(boxes_xyxy: Float[Array, "B N 4"], scores: Float[Array, "B N K"]) -> Found:
        return suppress_decoded(boxes_xyxy, scores, form.nms)

    return Stages(network, decode_levels, suppress if form.nms else None)


def suppress_decoded(
    boxes_xyxy: Float[Array, "B N 4"], scores: Float[Array, "B N K"], nms: NmsConfig
) -> Found:
    """NMS of what a file gives without it."""
    found = non_max_suppression(
        as_decoded(boxes_xyxy, scores),
        score_threshold=nms.score_threshold,
        iou_threshold=nms.iou_threshold,
        max_candidates=nms.max_candidates,
        max_detections=nms.max_detections,
    )
    return Found(*found[:3], found.mask.sum(axis=1, dtype=jnp.int32))


def as_decoded(boxes_xyxy: Float[Array, "B N 4"], scores: Float[Array, "B N K"]) -> Decoded:
    """Boxes and scores of a file as NMS takes them.

    A score is objectness times probability and exceeds a threshold only where objectness does, so
    that an objectness of 1 with the scores as probabilities gives the same candidates.
    """
    return Decoded(boxes.xyxy_to_cxcywh(boxes_xyxy), jnp.ones_like(scores[..., 0]), scores)


def as_detections(found: Found) -> Detections:
    """What a file found, as the way through the house has it."""
    mask = jnp.arange(found.detected_scores.shape[1])[None] < found.detected_count[:, None]
    return Detections(*found[:3], mask)
