"""From a recipe (`configs/`) to typed objects: the border at which the config stops."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from yolor_jax.augment.batch import augment
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.data.example import Batch
from yolor_jax.data.image_weights import WeightedOrder, image_weights
from yolor_jax.data.objects import all_objects
from yolor_jax.data.sources import Source
from yolor_jax.data.subset import Subset, first_images
from yolor_jax.detection.losses import LossConfig
from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import BACKENDS
from yolor_jax.inference.predictor import NmsConfig
from yolor_jax.models.anchors import with_anchors
from yolor_jax.models.detector import Detector, build, find_spec, require_multiple
from yolor_jax.models.spec import ModelSpec, with_implicit, with_tasks
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.training.optim import OptimConfig, RunLength
from yolor_jax.training.step import Augment, Loss
from yolor_jax.training.task_losses import TaskLossConfig, make_loss

Split = Source | Subset
FILE = "config.json"
AUTO = "auto"  # anchors that are found for the training data, see `runs.anchors`
FREE = ("eval", "mesh", "remat", "log_every", "checkpoint_every", "tensorboard")
FREE_OF_DATA = ("path", "prepared", "eval_split", "threads", "workers")


@dataclasses.dataclass(frozen=True)
class Sources:
    """The two splits of a recipe; their classes are the same."""

    train: Split
    evaluation: Split

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.train.class_names


def check(config: ConfigDict) -> None:
    """Raises an InputError for a setting that no part could use, before anything is computed."""
    positive = ("image_size", "batch_size", "epochs", "log_every", "checkpoint_every")
    positive += ("data.max_targets", "data.threads", "optim.nominal_batch")
    positive += ("eval.batch_size", "eval.every_epochs")
    positive += ("eval.nms.max_candidates", "eval.nms.max_detections")
    not_negative = ("close_mosaic", "data.first", "data.workers")
    for name, value in _numbers(config):
        if not math.isfinite(value):
            raise InputError(f"--config.{name} is {value}; expected a finite number")
        if value <= 0 and name in positive:
            raise InputError(f"--config.{name} is {value}; expected more than 0")
        if value < 0 and name in not_negative:
            raise InputError(f"--config.{name} is {value}; expected 0 or more")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--config.seed is {config.seed}; expected 0 .. 2**32 - 1")
    if config.eval.backend not in BACKENDS:
        raise InputError(
            f"got the backend {config.eval.backend!r} for evaluation; expected one of "
            f"{', '.join(BACKENDS)}"
        )
    if config.batch_norm not in ("global", "device"):
        raise InputError(f"--config.batch_norm is {config.batch_norm!r}; expected global or device")
    spec = model_spec(config)
    multi_scale_sizes(config)
    optim_config(config)
    loss(config, spec, num_classes=80)
    evaluation_nms(config)


def _numbers(config: ConfigDict, section: str = "") -> Iterator[tuple[str, float]]:
    """Name and value of each setting that is a number, at any depth."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _numbers(value, f"{section}{name}.")
        elif isinstance(value, int | float):
            yield f"{section}{name}", value


def require_init(config: ConfigDict) -> None:
    """Raises an InputError if the recipe starts from other weights, and none are given."""
    if config.init is None:
        raise InputError(
            "this recipe tunes a trained network, and --config.init is missing: expected the "
            "workdir of a run, or a file that yolor convert wrote"
        )


def open_sources(config: ConfigDict) -> Sources:
    """Opens both splits, preparing them first where that has not been done.

    Raises:
        InputError: the splits have different classes, or the data cannot be used as it is.
    """
    train, evaluation = (
        open_split(config, s) for s in (config.data.train_split, config.data.eval_split)
    )
    if train.class_names != evaluation.class_names:
        only = sorted(set(train.class_names) ^ set(evaluation.class_names))
        raise InputError(
            f"{config.data.train_split} and {config.data.eval_split} have different classes "
            f"({', '.join(only) or 'in another order'}); both must list the same categories"
        )
    return Sources(train, evaluation)


def open_split(config: ConfigDict, split: str) -> Split:
    """Opens one split, preparing it first where that has not been done.

    Raises:
        InputError: the data cannot be used as it is.
    """
    source = open_dataset(
        config.data.path, split, config.data.prepared, skip_broken=config.data.skip_broken
    )
    return first_images(source, config.data.first) if config.data.first else source


def model_spec(config: ConfigDict) -> ModelSpec:
    """The recipe's model with the tasks, implicit knowledge and anchors that the recipe asks for.

    Raises:
        InputError: no such model, task or implicit knowledge, or anchors that do not fit the model.
    """
    spec = with_tasks(find_spec(config.model.name), tasks(config))
    return with_anchors(with_implicit(spec, implicit(config)), anchors(config))


def tasks(config: ConfigDict) -> tuple[str, ...]:
    """The recipe's tasks beyond detection."""
    return tuple(config.model.get("tasks", ()))  # not in the recipe of an older run


def anchors(config: ConfigDict) -> Any:
    """The recipe's anchors; None for the model's own, and as long as they are to be found."""
    given = config.model.get("anchors")  # not in the recipe of an older run
    return None if given == AUTO else given


def implicit(config: ConfigDict) -> dict[str, Any] | None:
    """The recipe's description of implicit knowledge (`models.spec`); None: the model's own.

    Raises:
        InputError: it is no dictionary.
    """
    description = config.model.to_dict()["implicit"]
    if not isinstance(description, dict | None):
        raise InputError(
            f"--config.model.implicit is {description!r}; expected a Python dict such as "
            """{"alignment": "add"}"""
        )
    return description


def detector(config: ConfigDict, num_classes: int, *, fused: bool = False) -> Detector:
    """The recipe's network.

    Raises:
        InputError: no such model, or an image size that does not fit it.
    """
    dtype = jnp.bfloat16 if config.bfloat16 else jnp.float32
    remat = "" if fused else config.remat
    module = build(model_spec(config), num_classes, dtype=dtype, fused=fused, remat=remat)
    require_multiple((config.image_size,), module.spec.strides[-1])
    return module


def multi_scale_sizes(config: ConfigDict) -> tuple[int, ...]:
    """The sides in pixels that steps are trained at; () for ``config.image_size`` alone.

    Raises:
        InputError: a side is no whole number, or no multiple of the model's largest stride.
    """
    sizes = tuple(config.get("multi_scale", ()))  # not in the recipe of an older run
    if not all(type(side) is int for side in sizes):
        raise InputError(
            f"--config.multi_scale is {sizes}; expected pixels such as (512, 640, 768)"
        )
    require_multiple(sizes, model_spec(config).strides[-1])
    return sizes


def loss_config(config: ConfigDict, num_classes: int) -> LossConfig:
    """The recipe's loss; its classification gain is per 80 classes, as in the original."""
    typed = LossConfig(**config.loss)
    return dataclasses.replace(typed, classification=typed.classification * num_classes / 80)


def loss(config: ConfigDict, spec: ModelSpec, num_classes: int) -> Loss:
    """``loss(outputs, batch) -> (loss, terms)`` with the recipe's settings, for all its tasks."""
    gains = TaskLossConfig(**config.get("task_loss", {}))  # not in the recipe of an older run
    return make_loss(spec, detection=loss_config(config, num_classes), tasks=gains)


def optim_config(config: ConfigDict) -> OptimConfig:
    """The recipe's optimiser and schedule."""
    return OptimConfig(**config.optim)


def evaluation_nms(config: ConfigDict) -> NmsConfig:
    """What counts as a detection in evaluation."""
    return NmsConfig(**config.eval.nms)


def augment_config(config: ConfigDict) -> AugmentConfig:
    """How much the recipe varies its images."""
    return AugmentConfig(**config.augment)


def augmentation(config: ConfigDict, run: RunLength) -> Augment:
    """``(key, batch, step) -> batch`` with the recipe's settings."""
    settings = augment_config(config)
    last_steps = round(config.close_mosaic * run.steps_per_epoch)

    def augment_at_step(key: jax.Array, batch: Batch, step: jax.Array) -> Batch:
        return augment(key, batch, settings, composing=step < run.total_steps - last_steps)

    return augment_at_step


def example_order(config: ConfigDict, source: Split) -> Sequence[int] | None:
    """The order of the training images, if it is not a permutation for each epoch.

    Raises:
        InputError: image weights are asked for, and no image shows an object.
    """
    if not config.data.image_weights:
        return None
    weights = image_weights(all_objects(source), len(source.class_names))
    return WeightedOrder(weights, config.seed)


def run_length(config: ConfigDict, num_images: int) -> RunLength:
    """Steps per epoch and in all, in whole batches; what is left over begins the next epoch.

    Raises:
        InputError: fewer images than one batch, or no step in all.
    """
    if num_images < config.batch_size:
        raise InputError(
            f"the split {config.data.train_split} has {num_images} images, fewer than one batch of "
            f"{config.batch_size}; use --config.batch_size={num_images} or less"
        )
    steps_per_epoch = num_images // config.batch_size
    total_steps = round(config.epochs * steps_per_epoch)
    if not total_steps:
        raise InputError(
            f"--config.epochs is {config.epochs}, and an epoch has {steps_per_epoch} steps; "
            f"expected at least {1 / steps_per_epoch:.2g}, one step"
        )
    return RunLength(config.batch_size, steps_per_epoch, total_steps)


def identity(config: ConfigDict) -> dict:
    """The part of a recipe that decides the course of a run; the rest may change on the way."""
    entries = {name: value for name, value in config.to_dict().items() if name not in FREE}
    data = {name: v for name, v in entries["data"].items() if name not in FREE_OF_DATA}
    return entries | {"data": data}


def save(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Writes the recipe of a run to its workdir."""
    (workdir / FILE).write_text(config.to_json_best_effort(indent=2) + "\n")


def load(workdir: pathlib.Path, defaults: ConfigDict | None = None) -> ConfigDict:
    """The recipe of a run.

    Args:
        workdir: of the run.
        defaults: of settings that did not exist yet when the run was started.

    Raises:
        FileNotFoundError: the folder holds no run.
        InputError: its recipe is damaged.
    """
    path = workdir / FILE
    if not path.is_file():
        raise FileNotFoundError(f"no {FILE} in {workdir}: expected the workdir of a training run")
    try:
        settings = json.loads(path.read_text())
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise InputError(
            f"{path} is damaged; expected the settings of a run as JSON: give the command that "
            "started the run again, which writes them anew"
        )
    config = ConfigDict(settings)
    _fill(config, defaults or ConfigDict())
    return config.lock()


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
    """Adds what a recipe lacks, at any depth."""
    for name, default in defaults.items():
        if name not in config:
            config[name] = default
        elif isinstance(default, ConfigDict):
            _fill(config[name], default)
