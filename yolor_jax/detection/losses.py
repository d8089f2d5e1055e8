"""The detection loss: where objects are, whether there are any, and what they are.

Over the predictions of a level that a target is assigned to (see ``assign``), and over all of its
predictions:

    box             mean over the assigned of 1 - CIoU(prediction, target)
    objectness      mean over all of BCE(objectness, t), t being the CIoU with the assigned target
                    (0 where there is none, the largest where there are several)
    classification  mean over the assigned and classes of BCE(class, one-hot); none if K = 1

Means run over the whole batch. Levels are summed with weights, times 3 / L; the terms are
multiplied by their gains; the loss is their sum times the batch size, so that its gradient is a
sum over images, which YOLOR's learning rates expect.

    loss, terms = detection_loss(
        outputs.detect, batch.boxes_xyxy, batch.labels, batch.mask & ~batch.is_crowd,
        anchors=spec.anchors, strides=spec.strides, config=LossConfig(),
    )
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from yolor_jax import boxes
from yolor_jax.detection.assign import Assignment, assign
from yolor_jax.detection.decode import LevelAnchors, activate, check_levels
from yolor_jax.errors import InputError

Number = int | float | Float[Array, ""]

# Weights of the levels' objectness, fine to coarse, by number of levels.
BALANCE = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.4, 0.1), 5: (4.0, 1.0, 0.5, 0.4, 0.1)}
MANY_LEVELS_OBJECTNESS = 1.4  # a further factor on objectness from four levels on
FOCAL_ALPHA = 0.25  # weight of positives in the focal loss; negatives weigh 1 - alpha
_RANGES = {
    "ratio_threshold": (1.0, math.inf),
    "iou_objectness": (0.0, 1.0),
    "label_smoothing": (0.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Gains and options of the loss; the defaults are YOLOR's at 640 pixels and K = 80.

    All but ``focal_gamma`` may be traced scalars, so that a search over them compiles once.

    Attributes:
        box: gain of the box term.
        objectness: gain of the objectness term.
        classification: gain of the class term; YOLOR scales it by K / 80, which is the caller's.
        ratio_threshold: of the assignment.
        iou_objectness: how much of the objectness target is CIoU; the rest is 1.
        class_pos_weight: weight of the class that is there in its BCE.
        objectness_pos_weight: weight of objectness targets in their BCE.
        focal_gamma: exponent of the focal loss (arXiv 1708.02002) in both BCEs; 0 for plain BCE.
        label_smoothing: e; class targets become 1 - e / 2 and e / 2.

    Raises:
        InputError: if a number that is no traced scalar is out of range.
    """

    box: Number = 0.05
    objectness: Number = 0.7
    classification: Number = 0.3
    ratio_threshold: Number = 4.0
    iou_objectness: Number = 1.0
    class_pos_weight: Number = 1.0
    objectness_pos_weight: Number = 1.0
    focal_gamma: int | float = 0.0
    label_smoothing: Number = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            low, high = _RANGES.get(field.name, (0.0, math.inf))
            if isinstance(value, int | float) and not low <= value <= high:
                raise InputError(f"{field.name} of the loss is {value}: expected {low} to {high}.")


def detection_loss(
    predictions: tuple[Float[Array, "B _ _ _ O"], ...],
    boxes_xyxy: Float[Array, "B T 4"],
    labels: Int[Array, "B T"],
    mask: Bool[Array, "B T"],
    *,
    anchors: tuple[LevelAnchors, ...],
    strides: tuple[int, ...],
    config: LossConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The loss of a batch and its terms.

    Args:
        predictions: logits, one [B, h, w, A, 5 + K] per level; lower precisions are raised to
            float32.
        boxes_xyxy: [B, T, 4] in pixels of the network input.
        labels: [B, T], from 0 to K - 1.
        mask: [B, T], true for a target to learn (leave crowds out); the rest does not matter.
        anchors: per level and anchor, (width, height) in pixels of the network input.
        strides: pixels per cell of each level.
        config: gains and options.

    Returns:
        The loss, float32, and the terms ``box``, ``objectness``, ``classification`` and their sum
        ``total``, gains included. The loss is B times ``total``.

    Raises:
        InputError: if anchors or strides do not fit the predictions, or level weights are not
            known for the number of levels.
    """
    check_levels(predictions, anchors, strides)
    if len(predictions) not in BALANCE:
        raise InputError(
            f"got {len(predictions)} levels, expected one of {sorted(BALANCE)}: "
            "objectness weights of the levels are defined for these only"
        )
    sums = [jnp.zeros((), jnp.float32)] * 3
    balance = BALANCE[len(predictions)]
    for logits, level_anchors, stride, weight in zip(
        predictions, anchors, strides, balance, strict=True
    ):
        assignment = assign(
            boxes_xyxy, labels, mask, anchors=level_anchors, stride=stride,
            grid_hw=logits.shape[1:3], ratio_threshold=config.ratio_threshold,
        )  # fmt: skip
        box, objectness, classification = _level_losses(logits, assignment, config)
        sums = [sums[0] + box, sums[1] + weight * objectness, sums[2] + classification]
    scale = 3 / len(predictions)
    objectness_gain = config.objectness * (MANY_LEVELS_OBJECTNESS if len(predictions) > 3 else 1)
    terms = {
        "box": sums[0] * (scale * config.box),
        "objectness": sums[1] * (scale * objectness_gain),
        "classification": sums[2] * (scale * config.classification),
    }
    terms["total"] = terms["box"] + terms["objectness"] + terms["classification"]
    return terms["total"] * labels.shape[0], terms


def _level_losses(
    logits: Float[Array, "B h w A O"], assignment: Assignment, config: LossConfig
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Box, objectness and classification of one level, without gains."""
    cell, mask = assignment.cell, assignment.mask
    # Gathered before the cast, so that no float32 copy of all logits is made.
    assigned = jax.vmap(_gather)(logits, cell, mask).astype(jnp.float32)  # [B, M, O]
    overlap = assigned_ciou(assigned[..., :4], assignment)  # [B, M]
    box = _masked_mean(1 - overlap, mask)

    # The CIoU is a target here, not a way to a better box: no gradient.
    part = config.iou_objectness
    target = (1 - part) + part * jnp.maximum(jax.lax.stop_gradient(overlap), 0)
    target = jax.vmap(_scatter_max, in_axes=(None, 0, 0, 0))(
        logits.shape[1:4], cell, target, mask
    )  # [B, h, w, A]
    objectness = jnp.mean(
        bce(
            logits[..., 4].astype(jnp.float32),
            target,
            config.objectness_pos_weight,
            config.focal_gamma,
        )
    )

    num_classes = logits.shape[-1] - 5
    if num_classes == 1:
        return box, objectness, jnp.zeros_like(box)
    one_hot = jax.nn.one_hot(assignment.labels, num_classes, dtype=assigned.dtype)  # [B, M, K]
    one_hot = one_hot * (1 - config.label_smoothing) + config.label_smoothing / 2
    entropy = bce(assigned[..., 5:], one_hot, config.class_pos_weight, config.focal_gamma)
    return box, objectness, _masked_mean(entropy.mean(axis=-1), mask)


def assigned_ciou(box_logits: Float[Array, "B M 4"], assignment: Assignment) -> Float[Array, "B M"]:
    """CIoU of each assigned prediction with its target.

    Args:
        box_logits: float32 [B, M, 4], x y w h, as they stand in ``assignment.cell``.
        assignment: of the level.

    Returns:
        [B, M]; without meaning where ``assignment.mask`` is false.
    """
    # In grid units, relative to the corner of the cell: the measure depends on neither, but its
    # epsilons do, and the golden values have them in this unit.
    predicted_cxcywh = jnp.concatenate(activate(box_logits, assignment.anchor_wh), axis=-1)
    predicted_xyxy = boxes.cxcywh_to_xyxy(predicted_cxcywh)
    return boxes.ciou(predicted_xyxy, boxes.cxcywh_to_xyxy(assignment.boxes_cxcywh))


def bce(
    logits: Float[Array, "*shape"],
    targets: Float[Array, "*shape"],
    pos_weight: Number = 1.0,
    focal_gamma: int | float = 0.0,
) -> Float[Array, "*shape"]:
    """Binary cross-entropy from logits, elementwise, stable for logits of any size.

    Args:
        logits: [...].
        targets: [...], probabilities, not necessarily 0 or 1.
        pos_weight: weight of the positive part.
        focal_gamma: if positive, the focal loss: times (1 - p_t)^gamma, where p_t is the
            probability given to the target, and alpha_t = 0.25 t + 0.75 (1 - t).

    Returns:
        [...], not negative.
    """
    positive, negative = targets * pos_weight, 1 - targets
    # softplus, not the logarithm of a sigmoid, which underflows to -inf for very negative logits.
    entropy = positive * jax.nn.softplus(-logits) + negative * jax.nn.softplus(logits)
    if focal_gamma == 0:
        return entropy
    alpha = targets * FOCAL_ALPHA + negative * (1 - FOCAL_ALPHA)
    missed = targets * jax.nn.sigmoid(-logits) + negative * jax.nn.sigmoid(logits)
    # A power's slope at 0 may be infinite, and infinity times a slope of 0 is NaN.
    power = jnp.where(missed > 0, jnp.where(missed > 0, missed, 1) ** focal_gamma, 0)
    return entropy * alpha * power


def _masked_mean(values: Float[Array, "B M"], mask: Bool[Array, "B M"]) -> Float[Array, ""]:
    """Mean over the batch where the mask is true; 0 if that is nowhere."""
    number = jnp.maximum(mask.sum(), 1).astype(values.dtype)
    return jnp.where(mask, values, 0).sum() / number


def _gather(
    image: Float[Array, "h w A O"], cell: Int[Array, "M 3"], mask: Bool[Array, " M"]
) -> Float[Array, "M O"]:
    """The predictions in the assigned slots, and zeros in the others."""
    return image.at[_index(cell, mask, image.shape[2])].get(mode="fill", fill_value=0)


def _scatter_max(
    shape: tuple[int, int, int],
    cell: Int[Array, "M 3"],
    values: Float[Array, " M"],
    mask: Bool[Array, " M"],
) -> Float[Array, "h w A"]:
    """A map of zeros with the value of each assigned slot in its cell, the largest of several.

    The original keeps the one that is written last, which an accelerator does not determine.
    """
    return jnp.zeros(shape, values.dtype).at[_index(cell, mask, shape[2])].max(values, mode="drop")


def _index(cell: Int[Array, "M 3"], mask: Bool[Array, " M"], num_anchors: int):
    """(row, column, anchor), the anchor out of range where nothing is to be read or written."""
    # Out of range, unassigned slots are dropped in the backward pass; with their placeholder cell
    # it would add thousands of zeros into one entry, one after the other.
    return cell[:, 1], cell[:, 2], jnp.where(mask, cell[:, 0], num_anchors)
