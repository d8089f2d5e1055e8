"""Where a batch goes wrong: the loss of each image, and the first module output that is not finite.

    found = diagnose(module, loss, variables, batch)
    found.terms["box"]           # [B], each image as a batch of its own
    found.first_not_finite()     # "backbone/stem/conv", and which images; None if all are finite

The network runs as in training, with the statistics of the batch, so one bad image may spoil the
outputs of all behind the first batch norm; the first output that is not finite still shows which.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from yolor_jax.data.example import Batch
from yolor_jax.models.detector import normalise
from yolor_jax.training.step import Loss


class Diagnosis(NamedTuple):
    """What a batch does to a network.

    Attributes:
        terms: loss terms by name, ``[B]`` float32, each image as a batch of its own.
        gradient_norm: ``[B]`` float32, of that loss by the network's outputs.
        modules: path of each module in the order in which their outputs were ready.
        finite: ``[M, B]`` bool, whether all outputs of a module for an image are finite.
        boxes: ``[B]`` int32, targets.
        odd_boxes: ``[B]`` int32, targets with a corner that is not finite, or no area.
    """

    terms: dict[str, np.ndarray]
    gradient_norm: np.ndarray
    modules: tuple[str, ...]
    finite: np.ndarray
    boxes: np.ndarray
    odd_boxes: np.ndarray

    def first_not_finite(self) -> tuple[str, list[int]] | None:
        """The first module with an output that is not finite, and for which images."""
        for path, finite in zip(self.modules, self.finite, strict=True):
            if not finite.all():
                return path, np.nonzero(~finite)[0].tolist()
        return None

    def losses_not_finite(self) -> list[int]:
        """The images whose loss, or its gradient by the outputs, is not finite."""
        values = np.stack([*self.terms.values(), self.gradient_norm])  # [terms, B]
        return np.nonzero(~np.isfinite(values).all(axis=0))[0].tolist()

    def suspects(self) -> list[int]:
        """The images at fault: those of the first output or loss that is not finite.

        Where all is finite, those with odd boxes.
        """
        first = self.first_not_finite()
        if first is not None:
            return first[1]
        return self.losses_not_finite() or np.nonzero(self.odd_boxes)[0].tolist()


def diagnose(
    module: nn.Module, loss: Loss, variables: Mapping[str, Any], batch: Batch
) -> Diagnosis:
    """Run the network and the loss on a batch, and check every intermediate value.

    Args:
        module: takes images ``[B, H, W, 3]`` in 0..1 and ``train``.
        loss: ``(outputs, batch) -> (loss, terms)``, see `training.step`.
        variables: ``params`` and ``batch_stats``.
        batch: augmented; of the size that the step was trained at.
    """
    paths = []

    def note(call, args, kwargs, context):
        outputs = call(*args, **kwargs)
        paths.append(context.module.path)
        return outputs

    @jax.jit
    def run(variables: Mapping[str, Any], batch: Batch):
        images = normalise(batch.image, module.dtype)  # [B, H, W, 3]
        with nn.intercept_methods(note):  # names in their order; the numbers are captured
            outputs, captured = module.apply(
                variables, images, train=True, mutable=["batch_stats"], capture_intermediates=True
            )
        finite = {
            path: _finite(values, len(images))
            for path, values in _calls(captured["intermediates"]).items()
        }

        def of_one(outputs, batch):
            one = jax.tree.map(lambda x: x[None], (outputs, batch))
            return loss(*one)

        gradient = jax.vmap(jax.grad(of_one, has_aux=True))
        gradients, terms = gradient(outputs, batch)
        squares = [
            jnp.sum(jnp.square(g.astype(jnp.float32)), axis=range(1, g.ndim))
            for g in jax.tree.leaves(gradients)
        ]
        return terms, jnp.sqrt(sum(squares)), finite

    terms, gradient_norm, finite = jax.device_get(run(variables, batch))
    # A rematerialised module is called twice: its place in the order is that of its last call.
    in_order = [*dict.fromkeys("/".join(path) for path in reversed(paths))][::-1]
    modules = [path for path in in_order if path in finite]
    boxes, mask = np.asarray(batch.boxes_xyxy), np.asarray(batch.mask)  # [B, T, 4], [B, T]
    sides = boxes[..., 2:] - boxes[..., :2]
    good = np.isfinite(boxes).all(-1) & (sides > 0).all(-1)
    return Diagnosis(
        terms, gradient_norm, tuple(modules), np.stack([finite[path] for path in modules]),
        mask.sum(-1, dtype=np.int32), (mask & ~good).sum(-1, dtype=np.int32),
    )  # fmt: skip


def _calls(intermediates: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What each module returned, by path."""
    found = {}
    for name, value in intermediates.items():
        if name == "__call__":
            found[prefix] = value
        else:
            found |= _calls(value, f"{prefix}/{name}" if prefix else name)
    return found


def _finite(outputs: Any, batch_size: int) -> jax.Array:
    """[B] bool: whether all values of an image are finite; a leaf without batch counts for all."""
    flags = jnp.ones(batch_size, bool)
    for leaf in jax.tree.leaves(outputs):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            per_image = leaf.ndim > 0 and leaf.shape[0] == batch_size
            flags &= jnp.isfinite(leaf).all(axis=range(1, leaf.ndim) if per_image else None)
    return flags
