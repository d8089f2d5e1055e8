"""The certificate of an exported file: its own runtime against the network, border by border.

    rows, detections = compare(file, module, variables, canvases, nms)
    all(row.ok for row in rows)

The borders are those of `exports.stages`: what goes in behind the letterbox, the logits of each
level, all decoded boxes and scores, and the detections, matched. The network is folded, in float32.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from yolor_jax import boxes
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import DECODED, DETECTED, Found, stages_of, suppress_decoded
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import Detector

SAME_IOU, SAME_PIXELS = 0.5, 1.0
"""Two detections of one class are the same from this IoU on, or where no corner is further off: a
box without area has no IoU."""


class Tolerance(NamedTuple):
    """What differences are allowed.

    Attributes:
        logits: of the levels.
        pixels: of corners of boxes. Those of sizes beyond 1000 pixels may differ by as much more
            as they are larger: float32 has no more digits.
        scores: of scores.
        corners: of detections, in pixels. Where two boxes of an object score nearly alike, rounding
            decides which of them NMS keeps: no box moves beyond `pixels`, and yet a detection does.
        detections: share of the detections that may be found by one side only.
    """

    logits: float
    pixels: float
    scores: float
    corners: float
    detections: float


TOLERANCES = {
    "float32": Tolerance(1e-3, 1e-3, 1e-5, 1e-3, 0.0),
    "float16": Tolerance(0.25, 1.0, 0.02, 16.0, 0.02),
    "bfloat16": Tolerance(0.5, 8.0, 0.05, 64.0, 0.1),
}
"""By the dtype of a file's activations. Below float32: about twice what a trained yolor_nano shows,
or more (docs/export.md)."""


class Row(NamedTuple):
    """One border.

    Attributes:
        border: its name.
        largest: difference there.
        allowed: the tolerance.
        unit: of both.
        values: how many were compared.
    """

    border: str
    largest: float
    allowed: float
    unit: str
    values: int

    @property
    def ok(self) -> bool:
        """Within the tolerance; NaN is not."""
        return self.largest <= self.allowed


class Pairs(NamedTuple):
    """The detections of both sides, matched.

    Attributes:
        matched: found by both.
        network_only: found by the network alone.
        file_only: found by the file alone.
        pixels: largest difference of corners of those matched.
        scores: likewise of scores.
    """

    matched: int = 0
    network_only: int = 0
    file_only: int = 0
    pixels: float = 0.0
    scores: float = 0.0

    def __add__(self, other: "Pairs") -> "Pairs":
        """Those of more images."""
        counts = (a + b for a, b in zip(self[:3], other[:3], strict=True))
        return Pairs(*counts, *np.maximum(self[3:], other[3:]).tolist())


def compare(
    file: Exported,
    module: Detector,
    variables: Mapping[str, Any],
    canvases: Iterable[UInt8[np.ndarray, "H W 3"]],
    nms: NmsConfig,
) -> tuple[list[Row], Pairs]:
    """Compares a file with the network that it was made of.

    Args:
        file: opened by its runtime.
        module: the folded network, in float32.
        variables: its variables.
        canvases: letterboxed images of the file's size, RGB.
        nms: what is a detection, where the file leaves that open.

    Returns:
        A row for each border, and the detections.
    """
    tolerance = TOLERANCES[file.form.dtype]
    nms = file.form.nms or nms
    form = Form(file.form.image_size, nms=nms)
    stages = stages_of(module, variables, form)

    @jax.jit
    def network(images):
        levels = stages.network(images)
        decoded = stages.decode(levels)
        return levels, decoded, suppress_decoded(*decoded, nms)

    errors: dict[str, tuple[float, int]] = {}
    pairs = Pairs()

    def note(border: str, differences: np.ndarray) -> None:
        largest, values = errors.get(border, (0.0, 0))
        # NaN stays: a border that is not a number is not within any tolerance.
        errors[border] = float(np.maximum(largest, differences.max())), values + differences.size

    with jax.default_matmul_precision("highest"):  # GPUs and TPUs round to fewer bits otherwise
        for canvas in canvases:
            batch = np.stack([canvas] * (file.form.batch or 1))
            levels, decoded, found = jax.device_get(network(canvas[None]))
            images = file.as_taken(batch)
            inside = DETECTED if file.form.nms else ()
            names = (*file.level_names, *DECODED, *inside)
            given = {
                name: np.asarray(array)[:1] for name, array in file.compute(images, names).items()
            }
            note("input", np.abs(_as_network_takes(file, images[:1]) - canvas[None] / 255))
            for name, level in zip(file.level_names, levels, strict=True):
                note(name, np.abs(given[name] - level))
            boxes_xyxy, scores = decoded
            size = np.maximum(1, np.abs(boxes_xyxy).max(axis=-1, keepdims=True) / 1000)
            note("boxes", np.abs(given["boxes"] - boxes_xyxy) / size)
            note("scores", np.abs(given["scores"] - scores))
            answer = (
                Found(**{name: given[name] for name in DETECTED})
                if file.form.nms
                else jax.device_get(_suppress(given["boxes"], given["scores"], nms))
            )
            pairs += match(found, answer)
    allowed = {"input": 1e-6, "boxes": tolerance.pixels, "scores": tolerance.scores}
    units = {"input": "of 0..1", "boxes": "pixels", "scores": "of 0..1"}
    rows = [
        Row(border, largest, allowed.get(border, tolerance.logits), units.get(border, ""), values)
        for border, (largest, values) in errors.items()
    ]
    return [*rows, *rows_of(pairs, tolerance)], pairs


_suppress = jax.jit(suppress_decoded, static_argnames="nms")


def _as_network_takes(file: Exported, images: np.ndarray) -> np.ndarray:
    """Images of a file as the network takes them: NHWC, 0..1."""
    images = images if file.form.layout == "nhwc" else images.transpose(0, 2, 3, 1)
    return images / 255 if file.form.pixels == "uint8" else images


def rows_of(pairs: Pairs, tolerance: Tolerance) -> list[Row]:
    """The borders of the detections."""
    alone = pairs.network_only + pairs.file_only
    share = alone / max(pairs.matched + alone, 1)
    return [
        Row("corners of detections", pairs.pixels, tolerance.corners, "pixels", pairs.matched),
        Row("scores of detections", pairs.scores, tolerance.scores, "of 0..1", pairs.matched),
        Row("detections of one side", share, tolerance.detections, "of all", pairs.matched + alone),
    ]


def match(ours: Found, theirs: Found) -> Pairs:
    """Matches the detections of one image: each of ours, best first, with the nearest of theirs.

    Args:
        ours: of the network, a batch of one.
        theirs: of the file.
    """
    a, b = (
        Found(*(np.asarray(array[0, : int(one.detected_count[0])]) for array in one[:3]), one[3])
        for one in (ours, theirs)
    )
    overlap = np.asarray(boxes.pairwise_iou(a.detected_boxes, b.detected_boxes))  # [n, m]
    corners = np.abs(a.detected_boxes[:, None] - b.detected_boxes[None]).max(axis=-1)  # [n, m]
    same = (overlap >= SAME_IOU) | (corners <= SAME_PIXELS)
    same &= a.detected_labels[:, None] == b.detected_labels[None]
    pixels = scores = 0.0
    matched = 0
    for i in np.nonzero(same.any(axis=1))[0]:
        if not same[i].any():  # another one took the last that was left
            continue
        j = int(np.where(same[i], corners[i], np.inf).argmin())
        same[:, j] = False
        matched += 1
        pixels = max(pixels, float(corners[i, j]))
        scores = max(scores, float(abs(a.detected_scores[i] - b.detected_scores[j])))
    return Pairs(matched, len(corners) - matched, corners.shape[1] - matched, pixels, scores)
