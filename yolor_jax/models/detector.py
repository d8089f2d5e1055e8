"""The detector: backbone, neck and the heads of its tasks as one Linen module.

```python
model = build("yolor_csp", num_classes=80)
variables = model.init(jax.random.key(0), jnp.zeros((1, 640, 640, 3)))
logits = model.apply(variables, images).detect      # per level [B, h, w, A, 5 + K]
```
"""

import difflib
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from yolor_jax.errors import InputError
from yolor_jax.models.backbone import Backbone
from yolor_jax.models.neck import Neck
from yolor_jax.models.spec import ModelSpec
from yolor_jax.models.zoo import MODELS
from yolor_jax.nn.blocks import JointNorm
from yolor_jax.nn.conv import ConvUnit
from yolor_jax.nn.heads import ClassificationHead, DetectionHead, EmbeddingHead
from yolor_jax.nn.remat import chosen
from yolor_jax.trees import differences, flatten_by_path


class Outputs(NamedTuple):
    """What the network says: logits without decoding.

    Attributes:
        detect: per pyramid level, finest first, ``[B, h, w, A, 5 + K]`` in the order
            x y w h objectness classes.
        classify: ``[B, K]``, which classes are in the image; None where the model lacks that task.
        embed: per level ``[B, h, w, D]``; None where the model lacks that task.
        learnt: parameters of the losses, where a module in training has some (`training.learner`).
    """

    detect: tuple[Array, ...]
    classify: Array | None = None
    embed: tuple[Array, ...] | None = None
    learnt: Mapping[str, Any] | None = None


class Detector(nn.Module):
    """A YOLOR detector, with further tasks where its spec has them.

    Attributes:
        spec: the model.
        num_classes: K.
        dtype: of the activations (float32 or bfloat16); parameters stay float32.
        fused: the parameters are folded: the result of `models.fold.fold`.
        remat: the blocks that keep only their input for the backward pass, by a regular expression
            that is found in their names (`block_names`): "." all, "" none.
    """

    spec: ModelSpec
    num_classes: int = 80
    dtype: DTypeLike = jnp.float32
    fused: bool = False
    remat: str = ""

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool = False) -> Outputs:
        """Images to logits.

        Args:
            images: RGB, in 0..1 (`normalise`).
            train: use and update batch statistics, which needs ``mutable=["batch_stats"]``.

        Returns:
            `Outputs`; detection is always there.

        Raises:
            InputError: H or W is not a multiple of the largest stride.
        """
        require_multiple(images.shape[1:3], self.spec.strides[-1])
        spec = self.spec
        shared = {
            "activation": spec.activation,
            "epsilon": spec.bn_epsilon,
            "momentum": spec.bn_momentum,
            "fused": self.fused,
        }
        conv = functools.partial(ConvUnit, dtype=self.dtype, **shared)
        joint_norm = functools.partial(JointNorm, **shared) if spec.joint_norm else None
        backbone = Backbone(spec, conv, joint_norm, self.remat, name="backbone")
        neck = Neck(spec, conv, joint_norm, self.fused, self.remat, name="neck")
        head = DetectionHead(
            anchors=len(spec.anchors[0]),
            num_classes=self.num_classes,
            strides=spec.strides,
            conv=conv,
            alignment=spec.implicit.alignment,
            refinement=spec.implicit.refinement,
            name="head",
        )
        pyramid = neck(backbone(images.astype(self.dtype), train=train), train=train)
        classify = embed = None
        branch = {"conv": conv, "before": spec.implicit.branch}
        if "classify" in spec.tasks:
            classifier = ClassificationHead(self.num_classes, **branch, name="classify")
            classify = classifier(pyramid.shared[-1], train=train)
        if "embed" in spec.tasks:
            embed = EmbeddingHead(spec.embedding, **branch, name="embed")(
                pyramid.shared, train=train
            )
        return Outputs(head(pyramid.detection), classify, embed)


def normalise(images: UInt8[Array, "B H W 3"], dtype: DTypeLike) -> Float[Array, "B H W 3"]:
    """Images as they are stored to images as the network takes them.

    Args:
        images: uint8, 0 to 255.
        dtype: of the network's activations: bfloat16, float32, or float64 to be exact.

    Returns:
        The same images in 0..1.
    """
    # Cast first: bfloat16 holds all of 0 to 255, and float64 would lose digits the other way round.
    return images.astype(dtype) / 255


def require_multiple(size: tuple[int, ...], stride: int) -> None:
    """Raises an InputError that names the next sizes unless all sides are multiples of stride."""
    for side in size:
        if side < 1 or side % stride:
            below, above = max(side, 0) // stride * stride, max(-(-side // stride), 1) * stride
            near = f"{below} or {above}" if below else f"{above}"
            raise InputError(
                f"image side {side} is not a multiple of the largest stride {stride}; use {near}"
            )


def build(
    model: str | ModelSpec,
    num_classes: int = 80,
    *,
    dtype: DTypeLike = jnp.float32,
    fused: bool = False,
    remat: str = "",
) -> Detector:
    """A detector by its name in the zoo, or by a spec of one's own.

    Args:
        model: a key of `models.zoo.MODELS`, or a spec.
        num_classes: K.
        dtype: of the activations; parameters stay float32.
        fused: the parameters are folded (`models.fold`).
        remat: the blocks to rematerialise, as for `Detector`.

    Returns:
        The module; ``init`` draws its variables, ``apply`` gives `Outputs`.

    Raises:
        InputError: no model of that name, no classes, or ``remat`` finds no block.
    """
    if num_classes < 1:
        raise InputError(f"got num_classes = {num_classes}; expected at least 1")
    spec = find_spec(model)
    if remat:
        _require_block(spec, remat)
    return Detector(spec, num_classes, dtype, fused, remat)


def block_names(spec: ModelSpec) -> tuple[str, ...]:
    """The blocks that may be rematerialised: the stages of the backbone and those of the neck."""
    levels = len(spec.neck_widths)
    return (
        *(f"stage{i}" for i in range(1, len(spec.stages) + 1)),
        "spp",
        *(f"topdown{i}" for i in reversed(range(levels - 1))),
        *(f"bottomup{i}" for i in range(1, levels)),
    )


def _require_block(spec: ModelSpec, remat: str) -> None:
    """Raises an InputError unless a regular expression is found in the name of a block."""
    try:
        found = any(chosen(name, remat) for name in block_names(spec))
    except re.error as error:
        raise InputError(f"remat is {remat!r}, which is no regular expression: {error}") from error
    if not found:
        raise InputError(
            f"remat is {remat!r}, which is found in no block of {spec.name}; expected a regular "
            f"expression for {', '.join(block_names(spec))}"
        )


def find_spec(model: str | ModelSpec) -> ModelSpec:
    """The spec of a zoo name; a spec is returned as it is.

    Raises:
        InputError: no model of that name; the sentence names the nearest and all others.
    """
    if isinstance(model, ModelSpec):
        return model
    if model not in MODELS:
        near = difflib.get_close_matches(model, MODELS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"no model {model!r}{meant} There are: {', '.join(MODELS)}")
    return MODELS[model]


def require_variables_of(spec: ModelSpec, variables: Mapping[str, Any]) -> None:
    """Raises an InputError that lists all differences unless variables are those of a model.

    Their dtypes may be any; their number of classes too.
    """
    head = flatten_by_path(variables).get("params/head/level0/conv/kernel")
    if head is None:
        raise InputError(f"these variables are not those of {spec.name}: they have no head/level0")
    num_classes = max(head.shape[-1] // len(spec.anchors[0]) - 5, 1)
    wrong = differences(_shapes(variables), _shapes(variable_shapes(build(spec, num_classes))))
    if wrong:
        raise InputError(
            f"these variables are not those of {spec.name}, {len(wrong)} differences:\n  "
            + "\n  ".join(wrong)
        )


def _shapes(variables: Mapping[str, Any]) -> dict:
    """The shapes alone, under one dtype."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), dict(variables))


def variable_shapes(module: Detector) -> dict:
    """Shapes and dtypes of a detector's variables, without computing anything.

    Returns:
        The tree of ``module.init`` with a ``jax.ShapeDtypeStruct`` at each leaf.
    """
    side = module.spec.strides[-1]
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))  # computing one compiles a program for it
    return _init.eval_shape(module, key, image)


# Under `jax.jit`, which traces equal modules once: tracing a large one takes seconds.
@functools.partial(jax.jit, static_argnums=0)
def _init(module: Detector, key: jax.Array, image: Float[Array, "1 H W 3"]) -> dict:
    return module.init(key, image)
