"""What a recipe computes, as compiled functions: the training step and the prediction.

    step = make_step(config, module, state, run=run, mesh=mesh)
    state, metrics = step(state, shard_batch(mesh, batch), key)
    predict = make_prediction(config, module, mesh)

Training, evaluation and whoever looks at them (memory, speed, a replay) take them from here, so
that all mean the same programs.
"""

import functools
from collections.abc import Callable

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from yolor_jax.cli import recipe
from yolor_jax.evaluation.tasks import make_observe
from yolor_jax.inference.predictor import make_predict
from yolor_jax.models.detector import Detector
from yolor_jax.models.implicits import sparsity_penalty, wants_sparsity
from yolor_jax.training import mesh as meshes
from yolor_jax.training.multi_scale import make_multi_scale_step, steps_by_size
from yolor_jax.training.optim import RunLength
from yolor_jax.training.state import TrainState
from yolor_jax.training.step import TrainStep, make_train_step


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
        ValueError: a setting that does not fit, or a batch that cannot be cut over the devices.
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
    )
    sizes = recipe.multi_scale_sizes(config) or (config.image_size,)
    return steps_by_size(make, augment=recipe.augmentation(config, run), sizes=sizes)


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
