"""The loss of all tasks of a model: that of detection and, with gains, a term for each other task.

    loss = make_loss(spec, detection=LossConfig(), tasks=TaskLossConfig())
    value, terms = loss(outputs, batch)     # terms["classify"], terms["embed"] where spec has them

Like the terms of detection, those of the others are means over the batch, and the loss is their sum
times the batch size. Without further tasks this is the detection loss and nothing else.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.data.example import Batch
from yolor_jax.detection.losses import LossConfig
from yolor_jax.errors import InputError
from yolor_jax.models.spec import ModelSpec
from yolor_jax.tasks import identity as by_identity
from yolor_jax.tasks.classification import image_labels, multi_label_loss
from yolor_jax.tasks.embedding import contrastive_loss, describe, sample
from yolor_jax.training.step import Loss, make_detection_loss

CHOICES = {"identities": ("contrast", "classifier"), "weights": ("fixed", "learnt")}


@dataclasses.dataclass(frozen=True)
class TaskLossConfig:
    """Gains and options of the tasks beyond detection.

    Attributes:
        classify: gain of multi-label classification.
        embed: gain of embedding.
        temperature: of the contrastive losses of embedding.
        identities: what embedding learns identities by, where data have some: "contrast", or
            "classifier".
        weights: "fixed": the sum of the terms; "learnt": that weighed by a log variance for each
            task (`training.learner`).

    Raises:
        InputError: a gain or temperature that is not positive, or a choice that does not exist.
    """

    classify: float = 0.3
    embed: float = 0.05
    temperature: float = 0.1
    identities: str = "contrast"
    weights: str = "fixed"

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if known := CHOICES.get(field.name):
                if value not in known:
                    raise InputError(
                        f"task_loss.{field.name} is {value!r}; expected {' or '.join(known)}"
                    )
            elif not 0 < value < math.inf:
                raise InputError(
                    f"task_loss.{field.name} is {value}; expected gains and a temperature above 0 "
                    "(a task that is not to be learnt is left out of model.tasks)"
                )


def make_loss(
    spec: ModelSpec, *, detection: LossConfig, tasks: TaskLossConfig, identities: bool = False
) -> Loss:
    """The loss of a model's outputs.

    Args:
        spec: the model, with its tasks.
        detection: gains and thresholds of detection.
        tasks: of the others.
        identities: whether the data have any; without, each object is taken for one of its own.

    Returns:
        ``loss(outputs, batch) -> (loss, terms)``; the term ``total`` is the sum of all.
    """
    detect = make_detection_loss(anchors=spec.anchors, strides=spec.strides, config=detection)
    if not spec.tasks:
        return detect

    def loss(outputs: Any, batch: Batch) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        _, terms = detect(outputs, batch)
        terms = dict(terms)
        losses = {"detect": terms["total"]}
        for task in spec.tasks:
            losses[task] = TERMS[task](spec, outputs, batch, tasks)
        if identities:
            losses["embed"] += _identity(spec, outputs, batch, tasks)
        terms |= {task: losses[task] for task in spec.tasks}
        if tasks.weights == "fixed":
            terms["total"] = sum(losses.values())
        else:
            log_variance = outputs.learnt["log_variance"]
            terms["total"] = uncertainty_weighed(losses, log_variance)
            terms |= {f"log_variance_{task}": log_variance[task] for task in losses}
        return terms["total"] * batch.labels.shape[0], terms

    return loss


def uncertainty_weighed(
    losses: Mapping[str, Float[Array, ""]], log_variance: Mapping[str, Float[Array, ""]]
) -> Float[Array, ""]:
    """``sum_i (exp(-s_i) L_i + s_i) / 2`` over tasks (arXiv 1909.12605, section 3.5)."""
    return sum(
        (jnp.exp(-log_variance[task]) * loss + log_variance[task]) / 2
        for task, loss in losses.items()
    )


def _classify(
    spec: ModelSpec, outputs: Any, batch: Batch, config: TaskLossConfig
) -> Float[Array, ""]:
    del spec
    present = image_labels(batch.labels, batch.mask, outputs.classify.shape[-1])
    return config.classify * multi_label_loss(outputs.classify, present)


def _embed(spec: ModelSpec, outputs: Any, batch: Batch, config: TaskLossConfig) -> Float[Array, ""]:
    objects = batch.mask & ~batch.is_crowd & ~batch.identified.any(axis=1, keepdims=True)
    samples = sample(outputs.embed, batch.boxes_xyxy, objects, strides=spec.strides)
    return config.embed * contrastive_loss(samples, temperature=config.temperature)


def _identity(
    spec: ModelSpec, outputs: Any, batch: Batch, config: TaskLossConfig
) -> Float[Array, ""]:
    """The part of embedding that identities teach; images that show none have the other part."""
    identity = jnp.where(batch.mask, batch.identity, -1)
    vectors = describe(outputs.embed, batch.boxes_xyxy, identity >= 0, strides=spec.strides)
    if config.identities == "classifier":
        value = by_identity.classification_loss(vectors, identity, **outputs.learnt["identities"])
    else:
        value = by_identity.contrastive_loss(vectors, identity, temperature=config.temperature)
    return config.embed * value


TERMS = {"classify": _classify, "embed": _embed}
