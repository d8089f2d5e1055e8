"""Evaluation of the tasks beyond detection, every image of a split once.

Classification: the mean average precision of the image's classes, over the classes that the split
has. Embedding: each object of an image, looked for among all objects of the mirrored image by its
vector at the cell of its true centre; the share of those found first. Where the split has
identities, retrieval (`evaluation.retrieval`) by the vectors of true boxes, and by those of the
detections that lie on them.

    observe = jax.jit(make_observe(module))
    metrics = evaluate_tasks(observe, variables, batches, source, tasks=module.spec.tasks)
    print(format_table({"trained": coco | metrics}, numbers=(*NUMBERS, *task_numbers(tasks))))
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Array, Bool, Float, Int, UInt8

from yolor_jax.data.example import Batch
from yolor_jax.detection.decode import decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.evaluation.coco import Metrics
from yolor_jax.evaluation.each_image import Truth, each_image
from yolor_jax.evaluation.known_objects import KnownObjects
from yolor_jax.evaluation.task_metrics import mean_average_precision, rank1
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.detector import Detector, normalise
from yolor_jax.tasks import embedding

NUMBERS = {
    "classify": ("classify/mAP", "classes of the image, mean over classes"),
    "embed": ("embed/rank1", "objects found in the mirrored image"),
}
"""By task the name of its number, and what the table says about it."""
IDENTITY_NUMBERS = (
    ("embed/recall1", "nearest object in other images is the same"),
    ("embed/retrieval_mAP", "objects of other images by likeness"),
    ("embed/TPR_FAR0.1", "same pairs accepted where 10 % of others are"),
    ("embed/detected", "objects on which a detection lies"),
    ("embed/detected_recall1", "as above, by vectors of detections"),
    ("embed/detected_retrieval_mAP", "as above, by vectors of detections"),
    ("embed/detected_TPR_FAR0.1", "as above, by vectors of detections"),
)
"""Of embedding, where the split has identities."""


class Observations(NamedTuple):
    """What a network says of a batch beyond detection; None where it lacks the task.

    Attributes:
        classify: logits.
        vectors: of the targets, of length 1.
        mirrored: of the same targets in the mirrored image.
        objects: true where a target is one object.
        identity: of the targets, -1 for none.
        boxes_xyxy: of the targets.
        found: detections in pixels of the network input; None where nobody asks for them.
        found_vectors: of the detections, of length 1.
    """

    classify: Float[Array, "B K"] | None
    vectors: Float[Array, "B T D"] | None
    mirrored: Float[Array, "B T D"] | None
    objects: Bool[Array, "B T"]
    identity: Int[Array, "B T"]
    boxes_xyxy: Float[Array, "B T 4"] | None = None
    found: Detections | None = None
    found_vectors: Float[Array, "B N D"] | None = None


def task_numbers(tasks: Sequence[str]) -> list[tuple[str, str]]:
    """The rows of a table that the tasks add."""
    more = IDENTITY_NUMBERS if "embed" in tasks else ()
    return [*(NUMBERS[task] for task in tasks), *more]


def make_observe(module: Detector, nms: NmsConfig | None = None) -> Callable[..., Observations]:
    """The device's part, as a pure function for the caller to jit.

    Args:
        module: the network; its spec has the tasks.
        nms: what is a detection, where embedding is to be measured by their vectors too.

    Returns:
        ``observe(variables, image, boxes, objects, identity) -> Observations`` with image uint8
        [B, H, W, 3], boxes [B, T, 4] in pixels of the network input, objects [B, T] bool, identity
        [B, T] int32.
    """
    spec = module.spec

    def observe(
        variables: Mapping,
        image: UInt8[Array, "B H W 3"],
        boxes: Float[Array, "B T 4"],
        objects: Bool[Array, "B T"],
        identity: Int[Array, "B T"],
    ) -> Observations:
        def outputs(image):
            return module.apply(variables, normalise(image, module.dtype), train=False)

        def describe(embed, boxes_xyxy):
            return embedding.describe(embed, boxes_xyxy, objects, strides=spec.strides)

        seen = outputs(image)
        classify = None if seen.classify is None else seen.classify.astype(jnp.float32)
        if "embed" not in spec.tasks:
            return Observations(classify, None, None, objects, identity)
        left, top, right, bottom = jnp.moveaxis(boxes, -1, 0)
        width = image.shape[2]
        mirrored_boxes = jnp.stack([width - right, top, width - left, bottom], axis=-1)
        mirrored = outputs(image[:, :, ::-1]).embed
        by_boxes = describe(seen.embed, boxes), describe(mirrored, mirrored_boxes)
        if nms is None:
            return Observations(classify, *by_boxes, objects, identity)
        decoded = decode(seen.detect, anchors=spec.anchors, strides=spec.strides)
        found = non_max_suppression(decoded, **dataclasses.asdict(nms))
        found_vectors = embedding.describe(
            seen.embed, found.boxes_xyxy, found.mask, strides=spec.strides
        )
        return Observations(classify, *by_boxes, objects, identity, boxes, found, found_vectors)

    return observe


def evaluate_tasks(
    observe: Callable[..., Observations],
    variables: Mapping[str, Any],
    batches: Iterable[Batch],
    source: Truth,
    *,
    tasks: Sequence[str],
    sharding: Sharding | None = None,
    progress: bool = True,
) -> Metrics:
    """The numbers of the tasks beyond detection on a split.

    Args:
        observe: jitted `make_observe`.
        variables: of the network, on the device (or devices) already.
        batches: see `each_image`; with targets where embedding is one of the tasks.
        source: the split; it says which classes are in an image, crowds included.
        tasks: of the model.
        sharding: see `each_image`.
        progress: whether to show a bar.

    Returns:
        ``classify/mAP`` and ``embed/rank1``, 0..1, those of the tasks; None where the split has
        nothing to measure. `IDENTITY_NUMBERS` where embedding is a task and the split has
        identities.

    Raises:
        InputError: an image comes twice, never, or from nowhere.
    """
    ids = np.asarray(source.image_ids)
    present = image_classes(source)
    scores = np.zeros(present.shape, np.float32)
    found = asked = 0
    known = KnownObjects()
    passes = each_image(
        observe,
        variables,
        batches,
        ids,
        inputs=lambda batch: (
            batch.image,
            batch.boxes_xyxy,
            batch.mask & ~batch.is_crowd,
            batch.identity,
        ),
        sharding=sharding,
        progress=progress,
        title="evaluating tasks",
    )
    for index, seen in passes:
        if seen.classify is not None:
            scores[index] = seen.classify
        if seen.vectors is not None:
            for objects, vectors, mirrored in zip(
                seen.objects, seen.vectors, seen.mirrored, strict=True
            ):
                hits, queries = rank1(vectors[objects], mirrored[objects])
                found, asked = found + hits, asked + queries
            known.add(index, seen)
    values = {
        "classify": lambda: mean_average_precision(scores, present),
        "embed": lambda: found / asked if asked else None,
    }
    return {NUMBERS[task][0]: values[task]() for task in tasks} | known.numbers()


def image_classes(source: Truth) -> Bool[np.ndarray, "N K"]:
    """Which classes are in which image of a split, crowds included."""
    row = {image_id: position for position, image_id in enumerate(source.image_ids)}
    column = {category_id: label for label, category_id in enumerate(source.category_ids)}
    present = np.zeros((len(row), len(column)), bool)
    for annotation in source.ground_truth()["annotations"]:
        present[row[annotation["image_id"]], column[annotation["category_id"]]] = True
    return present
