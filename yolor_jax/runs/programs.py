"""What a recipe computes, as compiled functions: the training step and the prediction.

    step = make_step(config, module, state, run=run, mesh=mesh)
    state, metrics = step(state, shard_batch(mesh, batch), key)
    predict = make_prediction(config, module, mesh)

Training, evaluation and whoever looks at them (memory, speed, a replay) take them from here, so
that all mean the same programs.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.data.example import Batch
from yolor_jax.evaluation.tasks import make_observe
from yolor_jax.inference.predictor import make_predict
from yolor_jax.models.detector import Detector
from yolor_jax.models.implicits import sparsity_penalty, wants_sparsity
from yolor_jax.runs import recipe
from yolor_jax.training import mesh as meshes
from yolor_jax.training.multi_scale import make_multi_scale_step, steps_by_size
from yolor_jax.training.optim import RunLength
from yolor_jax.training.programs.cost import count_flops
from yolor_jax.training.state import TrainState, abstract_state
from yolor_jax.training.step import TrainStep, make_train_step

STEPS = 1000
"""Of an epoch, where data are not opened: a constant in the program that costs nothing."""


def require_batch(config: ConfigDict, mesh: Mesh) -> None:
    """Raises an InputError unless devices and groups of mosaics can share a batch evenly."""
    meshes.require_divisible(mesh, config.batch_size)
    recipe.augment_config(config).require_groups(config.batch_size // mesh.size)


def make_step(
    config: ConfigDict, module: Detector, state: TrainState, *, run: RunLength, mesh: Mesh
) -> TrainStep:
    """The training step; arguments as `make_steps`. At several sizes it draws one each time."""
    steps = make_steps(config, module, state, run=run, mesh=mesh)
    if config.multi_scale:
        return make_multi_scale_step(steps, seed=config.seed)
    return steps[config.image_size]


def make_steps(
    config: ConfigDict, module: Detector, state: TrainState, *, run: RunLength, mesh: Mesh
) -> dict[int, TrainStep]:
    """The training step of each size that the recipe trains at.

    Args:
        config: the recipe.
        module: its network.
        state: arrays or shapes; says what lies where.
        run: batch size and length.
        mesh: the devices.

    Returns:
        Functions of `make_train_step` by the side of the network input in pixels; each takes
        batches of ``config.image_size`` and is one program.

    Raises:
        InputError: a setting that does not fit, or a batch that cannot be cut over the devices.
    """
    spec = module.spec
    make = functools.partial(
        make_train_step,
        module,
        loss=recipe.loss(config, spec, module.num_classes),
        config=recipe.optim_config(config),
        run=run,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, state),
        penalty=functools.partial(sparsity_penalty, spec) if wants_sparsity(spec) else None,
        batch_norm_groups=mesh.size if config.batch_norm == "device" else 1,
    )
    sizes = recipe.multi_scale_sizes(config) or (config.image_size,)
    return steps_by_size(make, augment=recipe.augmentation(config, run), sizes=sizes)


def largest_side(config: ConfigDict) -> int:
    """The largest side in pixels that the recipe trains at."""
    return max(recipe.multi_scale_sizes(config), default=config.image_size)


def lower_step(
    config: ConfigDict, module: Detector, mesh: Mesh, batch_size: int
) -> jax.stages.Lowered:
    """The training step at the largest side, for devices that need not be there.

    Args:
        config: the recipe.
        module: its network.
        mesh: the devices.
        batch_size: images, in the place of the recipe's.
    """
    run = RunLength(batch_size, STEPS, STEPS * max(1, round(config.epochs)))
    arguments = step_arguments(config, module, run=run, mesh=mesh)
    steps = make_steps(config, module, arguments[0], run=run, mesh=mesh)
    return steps[largest_side(config)].lower(*arguments)


def step_flops(config: ConfigDict, module: Detector) -> float:
    """Operations of one training step over all devices, without those of rematerialisation."""
    mesh = meshes.make_mesh(jax.devices("cpu")[:1])
    return count_flops(lower_step(config, module.clone(remat=""), mesh, config.batch_size))


def make_prediction(config: ConfigDict, module: Detector, mesh: Mesh) -> Callable:
    """``predict(variables, images, letterbox, original_size)`` of a batch cut over the devices.

    Args:
        config: the recipe.
        module: the network, folded or not.
        mesh: the devices.
    """
    return jax.jit(meshes.over_batch(mesh, make_predict(module, recipe.evaluation_nms(config))))


def make_observation(module: Detector, mesh: Mesh) -> Callable:
    """``observe(variables, images, boxes, objects)``: what tasks beyond detection are measured by.

    Args:
        module: the network, folded or not.
        mesh: the devices.
    """
    return jax.jit(meshes.over_batch(mesh, make_observe(module)))


def evaluation_batch_size(config: ConfigDict, mesh: Mesh) -> int:
    """Images of a batch in evaluation: what the recipe says, filled up for all devices."""
    return -(-config.eval.batch_size // mesh.size) * mesh.size


def step_arguments(
    config: ConfigDict, module: Detector, *, run: RunLength, mesh: Mesh
) -> tuple[TrainState, Batch, jax.ShapeDtypeStruct]:
    """Shapes and places of what a training step is called with; devices need not be there.

    Returns:
        ``(state, batch, key)`` with a ``jax.ShapeDtypeStruct`` at each leaf.
    """
    size = (config.image_size, config.image_size)
    optim = recipe.optim_config(config)
    state = abstract_state(module, optim, run, image_size=size, mesh=mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=meshes.replicated(mesh))
    decodes = recipe.augment_config(config).decodes  # of each image, itself and its partners
    return state, _abstract_batch(config, decodes * run.batch_size, mesh), key


def prediction_arguments(config: ConfigDict, variables: Any, mesh: Mesh) -> tuple:
    """Shapes and places of what a prediction is called with; devices need not be there.

    Args:
        config: the recipe.
        variables: of the network, arrays or shapes.
        mesh: the devices.
    """
    everywhere = meshes.replicated(mesh)
    variables = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), variables
    )
    batch = _abstract_batch(config, evaluation_batch_size(config, mesh), mesh)
    return variables, batch.image, batch.letterbox, batch.original_size


def _abstract_batch(config: ConfigDict, batch_size: int, mesh: Mesh) -> Batch:
    """A batch of the recipe's images and targets as shapes."""

    def shape(dtype: type, *rest: int) -> jax.ShapeDtypeStruct:
        sharding = meshes.batch_sharding(mesh)
        return jax.ShapeDtypeStruct((batch_size, *rest), dtype, sharding=sharding)

    side, targets = config.image_size, config.data.max_targets
    return Batch(
        image=shape(np.uint8, side, side, 3),
        boxes=shape(np.float32, targets, 4),
        labels=shape(np.int32, targets),
        mask=shape(np.bool_, targets),
        is_crowd=shape(np.bool_, targets),
        index=shape(np.int32),
        original_size=shape(np.int32, 2),
        letterbox=shape(np.float32, 3),
        valid=shape(np.bool_),
    )
