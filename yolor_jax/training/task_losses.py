"""The loss of all tasks of a model: that of detection and, with gains, a term for each other task.

    loss = make_loss(spec, detection=LossConfig(), tasks=TaskLossConfig())
    value, terms = loss(outputs, batch)     # terms["classify"], terms["embed"] where spec has them

Like the terms of detection, those of the others are means over the batch, and the loss is their sum
times the batch size. Without further tasks this is the detection loss and nothing else.
"""

import dataclasses
from typing import Any

from jaxtyping import Array, Float

from yolor_jax.data.example import Batch
from yolor_jax.detection.losses import LossConfig
from yolor_jax.errors import InputError
from yolor_jax.models.spec import ModelSpec
from yolor_jax.tasks.classification import image_labels, multi_label_loss
from yolor_jax.tasks.embedding import contrastive_loss, sample
from yolor_jax.training.step import Loss, make_detection_loss


@dataclasses.dataclass(frozen=True)
class TaskLossConfig:
    """Gains and options of the tasks beyond detection.

    Attributes:
        classify: gain of multi-label classification.
        embed: gain of embedding.
        temperature: of the contrastive loss of embedding.

    Raises:
        InputError: a negative gain, or a temperature that is not positive.
    """

    classify: float = 0.3
    embed: float = 0.05
    temperature: float = 0.1

    def __post_init__(self):
        if not (self.classify >= 0 and self.embed >= 0 and self.temperature > 0):
            raise InputError(f"got {self}; expected gains of at least 0 and a temperature above 0")


def make_loss(spec: ModelSpec, *, detection: LossConfig, tasks: TaskLossConfig) -> Loss:
    """The loss of a model's outputs.

    Args:
        spec: the model, with its tasks.
        detection: gains and thresholds of detection.
        tasks: of the others.

    Returns:
        ``loss(outputs, batch) -> (loss, terms)``; the term ``total`` is the sum of all.
    """
    detect = make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=detection)
    if not spec.tasks:
        return detect

    def loss(outputs: Any, batch: Batch) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        _, terms = detect(outputs, batch)
        terms = dict(terms)
        for task in spec.tasks:
            terms[task] = TERMS[task](spec, outputs, batch, tasks)
            terms["total"] += terms[task]
        return terms["total"] * batch.labels.shape[0], terms

    return loss


def _classify(
    spec: ModelSpec, outputs: Any, batch: Batch, config: TaskLossConfig
) -> Float[Array, ""]:
    del spec
    present = image_labels(batch.labels, batch.mask, outputs.classify.shape[-1])
    return config.classify * multi_label_loss(outputs.classify, present)


def _embed(spec: ModelSpec, outputs: Any, batch: Batch, config: TaskLossConfig) -> Float[Array, ""]:
    objects = batch.mask & ~batch.is_crowd
    samples = sample(outputs.embed, batch.boxes_xyxy, objects, strides=spec.strides)
    return config.embed * contrastive_loss(samples, temperature=config.temperature)


TERMS = {"classify": _classify, "embed": _embed}
