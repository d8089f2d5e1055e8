"""What a recipe computes, as compiled functions: the training step and the prediction.

    step = make_step(recipe, module, state, run=run, mesh=mesh)
    state, metrics = step(state, shard_batch(mesh, batch), key)
    predict = make_prediction(recipe, module, mesh)

Training, evaluation and whoever looks at them (memory, speed, a replay) take them from here, so
that all mean the same programs.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from yolor_jax.augment.batch import augment
from yolor_jax.data.example import Batch
from yolor_jax.evaluation.tasks import make_observe
from yolor_jax.inference.prediction import NmsConfig, make_predict
from yolor_jax.models.detector import Detector
from yolor_jax.models.implicits import sparsity_penalty, wants_sparsity
from yolor_jax.runs.evaluation_mode import PLAIN, Mode
from yolor_jax.runs.recipe import Recipe
from yolor_jax.training import mesh as meshes
from yolor_jax.training.learner import Learner, learner
from yolor_jax.training.multi_scale import make_multi_scale_step, steps_by_size
from yolor_jax.training.optim import RunLength
from yolor_jax.training.programs.cost import count_flops
from yolor_jax.training.state import TrainState, abstract_state
from yolor_jax.training.step import Augment, Loss, TrainStep, make_train_step
from yolor_jax.training.task_losses import make_loss

STEPS = 1000
"""Of an epoch, where data are not opened: a constant in the program that costs nothing."""
IDENTITIES = 1000
"""Of the objects, where data are not opened and a classifier over them is asked for."""


def require_batch(recipe: Recipe, mesh: Mesh) -> None:
    """Raises an InputError unless devices and groups of mosaics can share a batch evenly."""
    meshes.require_divisible(mesh, recipe.batch_size)
    recipe.augment.require_groups(recipe.batch_size // mesh.size)


def loss_of(recipe: Recipe, module: Detector) -> Loss:
    """``loss(outputs, batch) -> (loss, terms)`` of all tasks of a network."""
    detection = recipe.loss_for(module.num_classes)
    known = isinstance(module, Learner) and module.identities > 0
    return make_loss(module.spec, detection=detection, tasks=recipe.task_loss, identities=known)


def augmentation(recipe: Recipe, run: RunLength) -> Augment:
    """``(key, batch, step) -> batch``; without mosaic and mixup in the last epochs, if so asked."""
    last_steps = round(recipe.close_mosaic * run.steps_per_epoch)

    def augment_at_step(key: jax.Array, batch: Batch, step: jax.Array) -> Batch:
        composing = step < run.total_steps - last_steps
        return augment(key, batch, recipe.augment, composing=composing)

    return augment_at_step


def make_step(
    recipe: Recipe, module: Detector, state: TrainState, *, run: RunLength, mesh: Mesh
) -> TrainStep:
    """The training step; arguments as `make_steps`. At several sizes it draws one each time."""
    steps = make_steps(recipe, module, state, run=run, mesh=mesh)
    if recipe.multi_scale:
        return make_multi_scale_step(steps, seed=recipe.seed)
    return steps[recipe.image_size]


def make_steps(
    recipe: Recipe, module: Detector, state: TrainState, *, run: RunLength, mesh: Mesh
) -> dict[int, TrainStep]:
    """The training step of each size that the recipe trains at.

    Args:
        recipe: of the run.
        module: its network.
        state: arrays or shapes; says what lies where.
        run: batch size and length.
        mesh: the devices.

    Returns:
        Functions of `make_train_step` by the side of the network input in pixels; each takes
        batches of ``recipe.image_size`` and is one program.

    Raises:
        InputError: a setting that does not fit, or a batch that the devices cannot share.
    """
    spec = module.spec
    make = functools.partial(
        make_train_step,
        module,
        loss=loss_of(recipe, module),
        config=recipe.optim,
        run=run,
        mesh=mesh,
        shardings=meshes.state_sharding(mesh, state),
        penalty=functools.partial(sparsity_penalty, spec) if wants_sparsity(spec) else None,
        batch_norm_groups=mesh.size if recipe.batch_norm == "device" else 1,
    )
    sizes = recipe.multi_scale or (recipe.image_size,)
    return steps_by_size(make, augment=augmentation(recipe, run), sizes=sizes)


def without_data(recipe: Recipe, module: Detector) -> Detector:
    """What is trained of a network (`training.learner`), where data are not opened."""
    asked = recipe.task_loss.identities == "classifier"
    return learner(module, recipe.task_loss, IDENTITIES if asked else 0)


def lower_step(recipe: Recipe, module: Detector, mesh: Mesh, batch_size: int) -> jax.stages.Lowered:
    """The training step at the largest side, for devices that need not be there.

    Args:
        recipe: of the run.
        module: its network.
        mesh: the devices.
        batch_size: images, in the place of the recipe's.
    """
    run = RunLength(batch_size, STEPS, STEPS * max(1, round(recipe.epochs)))
    module = without_data(recipe, module)
    arguments = step_arguments(recipe, module, run=run, mesh=mesh)
    steps = make_steps(recipe, module, arguments[0], run=run, mesh=mesh)
    return steps[recipe.largest_side].lower(*arguments)


def step_flops(recipe: Recipe, module: Detector) -> float:
    """Operations of one training step over all devices, without those of rematerialisation."""
    mesh = meshes.make_mesh(jax.devices("cpu")[:1])
    return count_flops(lower_step(recipe, module.clone(remat=""), mesh, recipe.batch_size))


def make_prediction(
    recipe: Recipe,
    module: Detector,
    mesh: Mesh,
    mode: Mode = PLAIN,
    class_names: Sequence[str] = (),
) -> Callable:
    """``predict(variables, images, letterbox, original_size)`` of a batch sharded over the devices.

    Args:
        recipe: of the run.
        module: the network, folded or not.
        mesh: the devices.
        mode: how images are looked at.
        class_names: of the network, where the mode looks for some of them.
    """
    nms = recipe.eval.nms
    if mode.max_detections is not None:
        nms = dataclasses.replace(nms, max_detections=mode.max_detections)
    classes = [class_names.index(name) for name in mode.classes] or None
    predict = make_predict(module, nms, classes=classes, **mode.prediction())
    return jax.jit(meshes.map_shards(mesh, predict))


def make_observation(module: Detector, mesh: Mesh, nms: NmsConfig | None = None) -> Callable:
    """What tasks beyond detection are measured by; see `evaluation.tasks.make_observe`.

    Args:
        module: the network, folded or not.
        mesh: the devices.
        nms: what is a detection, where they are to be known again.
    """
    return jax.jit(meshes.map_shards(mesh, make_observe(module, nms)))


def evaluation_batch_size(recipe: Recipe, mesh: Mesh) -> int:
    """Images of a batch in evaluation: what the recipe says, padded for all devices."""
    return -(-recipe.eval.batch_size // mesh.size) * mesh.size


def step_arguments(
    recipe: Recipe, module: Detector, *, run: RunLength, mesh: Mesh
) -> tuple[TrainState, Batch, jax.ShapeDtypeStruct]:
    """Shapes and places of what a training step is called with; devices need not be there.

    Returns:
        ``(state, batch, key)`` with a ``jax.ShapeDtypeStruct`` at each leaf.
    """
    size = (recipe.image_size, recipe.image_size)
    optim = recipe.optim
    state = abstract_state(module, optim, run, image_size=size, mesh=mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=meshes.replicated(mesh))
    images = recipe.augment.carried * run.batch_size
    return state, _abstract_batch(recipe, images, mesh), key


def prediction_arguments(recipe: Recipe, variables: Any, mesh: Mesh) -> tuple:
    """Shapes and places of what a prediction is called with; devices need not be there.

    Args:
        recipe: of the run.
        variables: of the network, arrays or shapes.
        mesh: the devices.
    """
    everywhere = meshes.replicated(mesh)
    variables = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere), variables
    )
    batch = _abstract_batch(recipe, evaluation_batch_size(recipe, mesh), mesh)
    return variables, batch.image, batch.letterbox, batch.original_size


def _abstract_batch(recipe: Recipe, batch_size: int, mesh: Mesh) -> Batch:
    """A batch of the recipe's images and targets as shapes."""

    def shape(dtype: type, *rest: int) -> jax.ShapeDtypeStruct:
        sharding = meshes.batch_sharding(mesh)
        return jax.ShapeDtypeStruct((batch_size, *rest), dtype, sharding=sharding)

    side, targets = recipe.image_size, recipe.data.max_targets
    return Batch(
        image=shape(np.uint8, side, side, 3),
        boxes_xyxy=shape(np.float32, targets, 4),
        labels=shape(np.int32, targets),
        mask=shape(np.bool_, targets),
        is_crowd=shape(np.bool_, targets),
        index=shape(np.int32),
        original_size=shape(np.int32, 2),
        letterbox=shape(np.float32, 3),
        valid=shape(np.bool_),
        identity=shape(np.int32, targets),
    )
