"""The certificate of an exported file: its own runtime against the network, border by border.

    rows, detections = compare(file, module, variables, canvases, nms)
    all(row.ok for row in rows)

The borders are those of `exports.stages`: what goes in behind the letterbox, the logits of each
level, all decoded boxes and scores, and the detections, matched. The network is folded, in float32.

A file of float32 must agree with it at each border. In a file of fewer bits the network rounds, and
decoding and NMS, which stay float32, make of that what they will: how far a detection moves has no
bound, because NMS decides between boxes that score alike. So each stage is held to what it was
given:

- the logits, in float16 and bfloat16, to `ROUNDINGS` times the difference that this dtype makes to
  the network itself, computed by XLA on the same pictures. No bound that knows only the dtype's
  unit roundoff holds: by how much a network multiplies it depends on its weights.
- boxes and scores to `decode` of the file's own logits, as in float32;
- detections of NMS inside the file to our NMS of the file's own boxes and scores, as in float32, or
  to the same NMS without the rounding that our way to keep classes apart brings (`plain_nms`).

What then is left between the network and the file is what the dtype costs. `FEWER_BITS` and
`LOST_AP` say how much of that is too much.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from yolor_jax import boxes
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.form import Form
from yolor_jax.exports.plain_nms import suppress_plainly
from yolor_jax.exports.stages import DECODED, DETECTED, Found, stages_of
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import Detector

SAME_IOU, SAME_PIXELS = 0.5, 1.0
"""Two detections of one class are the same from this IoU on, or where no corner is further off: a
box without area has no IoU."""


class Tolerance(NamedTuple):
    """What differences are allowed; None where they are shown and not judged.

    Attributes:
        logits: of the levels.
        pixels: of corners of boxes. Those of sizes beyond 1000 pixels may differ by as much more
            as they are larger: float32 has no more digits.
        scores: of scores.
        detections: share of the detections that may be found by one side only.
    """

    logits: float | None
    pixels: float | None
    scores: float | None
    detections: float


EXACT = Tolerance(1e-3, 1e-3, 1e-5, 0.0)
"""Of float32."""
ROUNDINGS = 2.0
"""Two computations that round at other places have errors of one size, not of one value."""
FEWER_BITS = Tolerance(None, None, None, 0.1)
"""Between the network and a file of fewer bits."""
LOST_AP = 0.01
"""AP (0..1) that a file may have less. Neighbours in the paper's table of models are 0.6 to 1.5
points apart: who would lose more by fewer bits has a smaller model to take."""


class Row(NamedTuple):
    """One border.

    Attributes:
        border: its name.
        largest: difference there.
        allowed: the tolerance; None where the difference is shown and not judged.
        unit: of both.
        values: how many were compared.
    """

    border: str
    largest: float
    allowed: float | None
    unit: str
    values: int

    @property
    def ok(self) -> bool:
        """Within the tolerance; NaN is not."""
        return self.largest <= (np.inf if self.allowed is None else self.allowed)


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
    form = Form(file.form.image_size, nms=file.form.nms or nms)
    stages = stages_of(module, variables, form)
    rounding = _rounding(module, variables, file.form)
    suppress = jax.jit(stages.suppress)
    decode = jax.jit(stages.decode)

    @jax.jit
    def network(images):
        levels = stages.network(images)
        decoded = stages.decode(levels)
        return levels, decoded, stages.suppress(*decoded), rounding(images, levels)

    differences = Differences()
    stage_pairs = pairs = Pairs()
    with jax.default_matmul_precision("highest"):  # GPUs and TPUs round to fewer bits otherwise
        for canvas in canvases:
            levels, decoded, found, rounded = jax.device_get(network(canvas[None]))
            images, given = _given(file, canvas)
            theirs = given["boxes"], given["scores"]
            kept = jax.device_get(suppress(*theirs))
            answer = Found(*(given[name] for name in DETECTED)) if file.form.nms else kept
            differences.note("input", _as_network_takes(file, images) - canvas[None] / 255)
            for name, level, difference in zip(file.level_names, levels, rounded, strict=True):
                differences.note(name, given[name] - level)
                differences.note(f"{name}, rounded", difference)
            of_its_logits = decode(tuple(given[name] for name in file.level_names))
            differences.note_decoded(" of its logits", jax.device_get(of_its_logits), theirs)
            differences.note_decoded("", decoded, theirs)
            if file.form.nms:
                stage_pairs += _nearer(kept, suppress_plainly(*theirs, form.nms), answer)
                pairs += _nearer(found, suppress_plainly(*decoded, form.nms), answer)
            else:
                pairs += match(found, answer)
    rows = [
        *_rows_of_values(differences, file),
        *(rows_of_pairs(stage_pairs, EXACT, " of its boxes") if file.form.nms else ()),
        *rows_of_pairs(pairs, EXACT if file.form.dtype == "float32" else FEWER_BITS),
    ]
    return rows, pairs


def _rounding(module: Detector, variables: Mapping[str, Any], form: Form) -> Callable:
    """By how much the logits of the network itself differ in the floats of a form."""
    low = stages_of(module, variables, Form(form.image_size, dtype=form.float_dtype))

    def differences(images, levels):
        if form.float_dtype == "float32":
            return [jnp.zeros(1) for _ in levels]
        return [a - b for a, b in zip(low.network(images), levels, strict=True)]

    return differences


def _given(file: Exported, canvas: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An image as a file takes it, and all that it gives for it."""
    images = file.form.as_taken(np.stack([canvas] * (file.form.batch or 1)))
    names = (*file.level_names, *DECODED, *(DETECTED if file.form.nms else ()))
    given = file.compute(images, names)
    return images[:1], {name: np.asarray(array)[:1] for name, array in given.items()}


def _as_network_takes(file: Exported, images: np.ndarray) -> np.ndarray:
    """Images of a file as the network takes them: NHWC, 0..1."""
    images = images if file.form.layout == "nhwc" else images.transpose(0, 2, 3, 1)
    return images / 255 if file.form.pixels == "uint8" else images


class Differences(dict[str, tuple[float, int]]):
    """By border the largest difference so far, and the number of values."""

    def note(self, border: str, differences: np.ndarray) -> None:
        """Takes in those of one image."""
        largest, values = self.get(border, (0.0, 0))
        # NaN stays: a border that is not a number is not within any tolerance.
        largest = float(np.maximum(largest, np.abs(differences).max()))
        self[border] = largest, values + differences.size

    def note_decoded(self, which: str, ours: tuple, theirs: tuple) -> None:
        """Takes in those of boxes and scores of one image."""
        size = np.maximum(1, np.abs(ours[0]).max(axis=-1, keepdims=True) / 1000)
        self.note(f"boxes{which}", (theirs[0] - ours[0]) / size)
        self.note(f"scores{which}", theirs[1] - ours[1])


def _rows_of_values(differences: Differences, file: Exported) -> list[Row]:
    """The borders up to the decoded boxes."""
    dtype = file.form.dtype

    def row(border: str, allowed: float | None, unit: str = "") -> Row:
        largest, values = differences[border]
        return Row(border, largest, allowed, unit, values)

    def of_logits(level: str) -> float | None:
        if dtype == "float32":
            return EXACT.logits
        return None if dtype == "int8" else ROUNDINGS * differences[f"{level}, rounded"][0]

    whole = EXACT if dtype == "float32" else FEWER_BITS
    return [
        row("input", 1e-6, "of 0..1"),
        *(row(level, of_logits(level)) for level in file.level_names),
        row("boxes of its logits", EXACT.pixels, "pixels"),
        row("scores of its logits", EXACT.scores, "of 0..1"),
        row("boxes", whole.pixels, "pixels"),
        row("scores", whole.scores, "of 0..1"),
    ]


def rows_of_pairs(pairs: Pairs, tolerance: Tolerance, which: str = "") -> list[Row]:
    """The borders of the detections."""
    alone = pairs.network_only + pairs.file_only
    everything = pairs.matched + alone
    share, allowed = alone / max(everything, 1), tolerance.detections
    return [
        Row(
            f"corners of detections{which}", pairs.pixels, tolerance.pixels, "pixels", pairs.matched
        ),
        Row(
            f"scores of detections{which}", pairs.scores, tolerance.scores, "of 0..1", pairs.matched
        ),
        Row(f"detections of one side{which}", share, allowed, "of all", everything),
    ]


def row_of_ap(network: float, file: float) -> Row:
    """The border of AP, 0..1."""
    return Row("lost AP", max(network - file, 0.0), LOST_AP, "of 0..1", 1)


def _nearer(ours: Found, plain: Found, theirs: Found) -> Pairs:
    """The matches with that one of two kinds of NMS that fewer detections tell apart."""
    both = match(ours, theirs), match(plain, theirs)
    return min(both, key=lambda pairs: pairs.network_only + pairs.file_only)


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
