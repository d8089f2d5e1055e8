"""What a run is asked for, as data: read once, typed, checked, and never changed in place.

    recipe = read(config.to_dict())              # of a file in configs/
    recipe = load("runs/quickstart")             # of a run
    recipe = recipe.with_changes(batch_size=16)  # another one

The names are those of the settings on the command line: ``--config.data.path`` is
``recipe.data.path``. What each setting means stands in the docstrings here and of the dataclasses
that a recipe is made of; the defaults stand in ``configs/base.py`` and nowhere else.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from yolor_jax import bucket
from yolor_jax.augment.config import AugmentConfig
from yolor_jax.detection.losses import LossConfig
from yolor_jax.errors import InputError
from yolor_jax.evaluation.coco import BACKENDS, NUMBERS
from yolor_jax.evaluation.tasks import task_numbers
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.models.anchors import with_anchors
from yolor_jax.models.detector import Detector, build, find_spec, require_multiple
from yolor_jax.models.spec import ModelSpec, with_implicit, with_tasks
from yolor_jax.paths import Path, user_path
from yolor_jax.runs.older_settings import with_older, without_later
from yolor_jax.runs.typed_settings import (
    require,
    require_not_negative,
    require_positive,
    typed,
)
from yolor_jax.training.optim import OptimConfig, RunLength
from yolor_jax.training.task_losses import TaskLossConfig
from yolor_jax.training.trace import traced_steps
from yolor_jax.training.trackers.experiment import TRACKERS
from yolor_jax.whole_file import whole_file

FILE = "config.json"
AUTO = "auto"
"""Anchors that are found for the training data (`runs.anchors`); a batch size that is found for the
devices (`runs.largest_batch`)."""

FREE = (
    "eval",
    "mesh",
    "remat",
    "log_every",
    "checkpoint_every",
    "tensorboard",
    "trackers",
    "profile",
)
FREE_OF_DATA = ("path", "prepared", "eval_split", "threads", "workers")
"""Settings that may change when a run is continued: they do not decide its course."""


@dataclasses.dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        name: of the zoo, such as "yolor_csp".
        implicit: implicit knowledge by place, such as {"alignment": "add"}; {}: none; None: the
            model's own.
        tasks: beyond detection: "classify", "embed".
        anchors: by level a list of [width, height] in pixels of the network input; "auto": found
            for the training data; None: the model's own.
    """

    name: str
    implicit: Any
    tasks: tuple[str, ...]
    anchors: Any

    def __post_init__(self):
        require(
            "model.implicit",
            self.implicit,
            isinstance(self.implicit, dict | None),
            """a Python dict such as {"alignment": "add"}""",
        )


@dataclasses.dataclass(frozen=True)
class MeshRecipe:
    """How devices share the work.

    Attributes:
        fsdp: devices that share one copy of the state; divides their number.
    """

    fsdp: int


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """The images, and how the host reads them.

    Attributes:
        path: TFDS directory, folder in one of the formats of docs/data.md, or built in: "shapes",
            "shapes_night", "shapes_film".
        prepared: where folders are turned into TFDS directories.
        train_split: name of the split to train on.
        eval_split: name of the split to evaluate on.
        first: use only the first images by id that show an object; 0: all.
        max_targets: boxes per image, padded to this number.
        image_weights: draw images with rare classes more often.
        skip_broken: leave out broken images and boxes instead of stopping.
        scaled_decode: decode a JPEG at a half, a quarter or an eighth of its sides where the
            network takes no more pixels: faster, of other pixels (`data.scaled`). Rectangular
            evaluation takes all of them.
        threads: threads that read and decode.
        workers: processes with so many threads each; 0: threads of the main process.
    """

    path: str
    prepared: str
    train_split: str
    eval_split: str
    first: int
    max_targets: int
    image_weights: bool
    skip_broken: bool
    scaled_decode: bool
    threads: int
    workers: int

    def __post_init__(self):
        require_positive("data.", self, "max_targets", "threads")
        require_not_negative("data.", self, "first", "workers")


@dataclasses.dataclass(frozen=True)
class EvalRecipe:
    """How often and by what a run is evaluated.

    Attributes:
        every_epochs: epochs between evaluations; the end is evaluated too.
        batch_size: images of a batch, over all devices.
        backend: "faster-coco-eval", "pycocotools" or "hotcoco".
        nms: what counts as a detection.
        recalibrate: images of the training split from which batch norm's statistics are taken anew
            for each evaluation, and kept with the checkpoint; 0: the running statistics.
        best_by: the number whose highest makes a checkpoint the best, such as "AP" or "AP50".
        patience: evaluations without a higher one after which the run is at its end; 0: it goes to
            its last step.
    """

    every_epochs: float
    batch_size: int
    backend: str
    nms: NmsConfig
    recalibrate: int
    best_by: str
    patience: int

    def __post_init__(self):
        require_positive("eval.", self, "every_epochs", "batch_size")
        require("eval.recalibrate", self.recalibrate, self.recalibrate >= 0, "0 or more images")
        require("eval.patience", self.patience, self.patience >= 0, "0 or more evaluations")
        known = ", ".join(BACKENDS)
        require("eval.backend", self.backend, self.backend in BACKENDS, f"one of {known}")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run: network, data, augmentation, loss, optimiser, evaluation.

    Attributes:
        model: the network.
        init: workdir of a run or .safetensors file whose weights a new run starts from; "": none;
            None: must be given.
        image_size: side of the network's square input in pixels; a multiple of its largest stride.
        multi_scale: sides that steps train at, drawn for each; (): image_size alone.
        bfloat16: activations in bfloat16; parameters, statistics, losses and boxes stay float32.
        remat: blocks computed again for the gradients, to save memory: a regular expression on
            their names, "." for all, "" for none.
        batch_size: images of a step, over all devices; "auto" on the command line: the largest
            that fits into their memory.
        batch_norm: "global": statistics of the whole batch; "device": of each device's part.
        epochs: passes over the training images.
        seed: of everything random.
        mesh: how devices share the work.
        data: the images.
        augment: how much they are varied.
        close_mosaic: last epochs, which do without mosaic and mixup.
        loss: gains and options of detection; ``classification`` is per 80 classes.
        task_loss: gains and options of the tasks beyond detection.
        optim: optimiser, schedule and moving average.
        eval: how often and by what the run is evaluated.
        log_every: steps between rows of metrics.
        checkpoint_every: steps between checkpoints; one is saved after each evaluation too.
        tensorboard: also write event files for TensorBoard.
        trackers: where rows of metrics go too: "wandb", "mlflow", "trackio".
        profile: steps that are traced, such as "100:110", for a table of the most expensive
            operations and a file for xprof; "": none.

    Raises:
        InputError: a setting that no part could use, before anything is computed.
    """

    model: ModelRecipe
    init: str | None
    image_size: int
    multi_scale: tuple[int, ...]
    bfloat16: bool
    remat: str
    batch_size: int
    batch_norm: str
    epochs: float
    seed: int
    mesh: MeshRecipe
    data: DataRecipe
    augment: AugmentConfig
    close_mosaic: float
    loss: LossConfig
    task_loss: TaskLossConfig
    optim: OptimConfig
    eval: EvalRecipe
    log_every: int
    checkpoint_every: int
    tensorboard: bool
    trackers: tuple[str, ...]
    profile: str

    def __post_init__(self):
        positive = ("image_size", "batch_size", "epochs", "log_every", "checkpoint_every")
        require_positive("", self, *positive)
        require_not_negative("", self, "close_mosaic")
        require("seed", self.seed, 0 <= self.seed < 2**32, "0 .. 2**32 - 1")
        for tracker in self.trackers:
            known = ", ".join(TRACKERS)
            require("trackers", self.trackers, tracker in TRACKERS, f"some of {known}")
        require(
            "profile", self.profile, self.profile == "" or traced_steps(self.profile) is not None,
            'two steps such as "100:110"',
        )  # fmt: skip
        known = ("global", "device")
        require("batch_norm", self.batch_norm, self.batch_norm in known, "global or device")
        require(
            "optim.nominal_batch", self.optim.nominal_batch, self.optim.nominal_batch > 0,
            "more than 0",
        )  # fmt: skip
        require_multiple(self.multi_scale, self.spec.strides[-1])
        numbers = [name for name, _ in (*NUMBERS, *task_numbers(self.spec.tasks))]
        by = self.eval.best_by
        require("eval.best_by", by, by in numbers, f"one of {', '.join(numbers)}")

    @functools.cached_property
    def spec(self) -> ModelSpec:
        """The model with the recipe's tasks, implicit knowledge and anchors."""
        given = None if self.model.anchors == AUTO else self.model.anchors
        spec = with_tasks(find_spec(self.model.name), self.model.tasks)
        return with_anchors(with_implicit(spec, self.model.implicit), given)

    def network(self, num_classes: int, *, fused: bool = False) -> Detector:
        """The module.

        Args:
            num_classes: K.
            fused: of folded variables.

        Raises:
            InputError: the image size does not fit the model.
        """
        dtype = jnp.bfloat16 if self.bfloat16 else jnp.float32
        remat = "" if fused else self.remat
        module = build(self.spec, num_classes, dtype=dtype, fused=fused, remat=remat)
        require_multiple((self.image_size,), self.spec.strides[-1])
        return module

    def loss_for(self, num_classes: int) -> LossConfig:
        """The loss of a number of classes: the classification gain is per 80 of them."""
        gain = self.loss.classification * num_classes / 80
        return dataclasses.replace(self.loss, classification=gain)

    def length(self, num_images: int) -> RunLength:
        """Steps per epoch and in all, in whole batches; what is left over begins the next epoch.

        Raises:
            InputError: fewer images than one batch, or no step in all.
        """
        if num_images < self.batch_size:
            raise InputError(
                f"the split {self.data.train_split} has {num_images} images, fewer than one batch "
                f"of {self.batch_size}; use --config.batch_size={num_images} or less"
            )
        steps_per_epoch = num_images // self.batch_size
        total_steps = round(self.epochs * steps_per_epoch)
        if not total_steps:
            raise InputError(
                f"--config.epochs is {self.epochs}, and an epoch has {steps_per_epoch} steps; "
                f"expected at least {1 / steps_per_epoch:.2g}, one step"
            )
        return RunLength(self.batch_size, steps_per_epoch, total_steps)

    @property
    def largest_side(self) -> int:
        """The largest side in pixels that it trains at."""
        return max(self.multi_scale, default=self.image_size)

    def with_changes(self, **changes: Any) -> "Recipe":
        """Another recipe, checked anew.

        Args:
            **changes: settings by name; those of a part in a dictionary, ``data={"path": "x"}``.
        """
        for name, value in changes.items():
            part = getattr(self, name)
            if dataclasses.is_dataclass(part) and isinstance(value, Mapping):
                changes[name] = dataclasses.replace(part, **value)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings as nested dictionaries of plain values."""
        return dataclasses.asdict(self)

    def identity(self) -> dict[str, Any]:
        """What decides the course of a run; the rest may change when it is continued.

        Compared as JSON with what a checkpoint says of its run, so that a name that changes here
        ends every run that exists.
        """
        entries = {name: value for name, value in self.to_dict().items() if name not in FREE}
        data = {name: v for name, v in entries["data"].items() if name not in FREE_OF_DATA}
        return without_later(entries | {"data": data})


def read(settings: Mapping[str, Any]) -> Recipe:
    """The recipe of nested settings.

    Args:
        settings: as a file in ``configs/`` gives them, or as a run stored them.

    Raises:
        InputError: a setting is missing, unknown, of another type, or of no use; says which.
    """
    return typed(Recipe, settings)


def save(recipe: Recipe, workdir: Path) -> None:
    """Writes the recipe of a run to its workdir."""
    with whole_file(workdir / FILE) as path:
        path.write_text(json.dumps(recipe.to_dict(), indent=2) + "\n")


def load(workdir: str | os.PathLike) -> Recipe:
    """The recipe of a run, also of one that was started before some of the settings existed.

    Args:
        workdir: of the run, on a disk or in a bucket.

    Raises:
        FileNotFoundError: the folder holds no run.
        InputError: its recipe is damaged.
        OSError: it cannot be read.
    """
    workdir = user_path(workdir)
    path = workdir / FILE
    try:
        with bucket.as_os_error(path):
            settings = json.loads(path.read_text())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"no {FILE} in {workdir}: expected the workdir of a training run"
        ) from error
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise InputError(
            f"{path} is damaged; expected the settings of a run as JSON: give the command that "
            "started the run again, which writes them anew"
        )
    try:
        return read(with_older(settings))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
