"""All settings and their defaults: every recipe starts from here and changes what it must.

Override from the command line: ``--config.optim.learning_rate=0.02``.
"""

import dataclasses

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from yolor_jax.augment.config import AugmentConfig
from yolor_jax.detection.losses import LossConfig
from yolor_jax.inference.prediction import EVALUATION
from yolor_jax.models.zoo import MODELS
from yolor_jax.training.optim import OptimConfig
from yolor_jax.training.task_losses import TaskLossConfig


def get_config() -> ConfigDict:
    """Settings of the original's training from scratch at 640 pixels, on COCO."""
    config = ConfigDict()
    config.model = ConfigDict()
    config.model.name = "yolor_csp"
    config.model.implicit = placeholder(object)  # by place, such as {"alignment": "add"}, {}: none
    config.model.tasks = ()  # beyond detection: ("classify",), ("embed",) or both
    config.model.anchors = placeholder(object)  # by level, [[[w, h], ...], ...], or "auto"
    config.init = ""  # workdir or .safetensors file whose weights a new run starts from; "": none
    config.image_size = 640  # pixels, square; a multiple of the model's largest stride
    config.multi_scale = ()  # sides that steps train at, drawn for each; (): image_size alone
    config.bfloat16 = False  # activations; parameters, statistics, losses and boxes stay float32
    config.remat = ""  # blocks computed again for the gradients, to save memory; a regex, "." all
    config.batch_size = 64  # images per step, over all devices
    config.batch_norm = "global"  # statistics of the whole batch; "device": of each device's part
    config.epochs = 300.0
    config.seed = 0

    config.mesh = ConfigDict()
    config.mesh.fsdp = 1  # devices that share one copy of the state; divides their number

    config.data = ConfigDict()
    config.data.path = "data/coco"  # TFDS directory, folder, or built in: "shapes" and its kin
    config.data.prepared = "data/prepared"  # where folders are turned into TFDS directories
    config.data.train_split = "train2017"
    config.data.eval_split = "val2017"
    config.data.first = 0  # use only the first images by id that show an object; 0: all
    config.data.max_targets = 120  # boxes per image, padded to this number
    config.data.image_weights = False  # draw images with rare classes more often
    config.data.skip_broken = False  # leave out broken images and boxes instead of stopping
    config.data.scaled_decode = False  # decode a JPEG no larger than need be, to other pixels
    config.data.threads = 16  # that read and decode
    config.data.workers = 0  # processes with so many threads each; 0: threads of the main process

    config.augment = ConfigDict(dataclasses.asdict(AugmentConfig()))
    config.close_mosaic = 0.0  # last epochs, which do without mosaic and mixup
    config.loss = ConfigDict(dataclasses.asdict(LossConfig()))
    config.task_loss = ConfigDict(dataclasses.asdict(TaskLossConfig()))  # of config.model.tasks
    config.optim = ConfigDict(dataclasses.asdict(OptimConfig()))

    config.eval = ConfigDict()
    config.eval.every_epochs = 1.0
    config.eval.batch_size = 32
    config.eval.backend = "faster-coco-eval"  # or "pycocotools", "hotcoco"
    config.eval.recalibrate = 0  # images to take batch norm's statistics from anew; 0: running ones
    config.eval.best_by = "AP"  # the number by which a checkpoint is the best
    config.eval.patience = 0  # evaluations without a higher one that end the run; 0: never
    config.eval.nms = ConfigDict(dataclasses.asdict(EVALUATION))

    config.log_every = 20  # steps
    config.checkpoint_every = 1000  # steps; also saved after each evaluation
    config.tensorboard = False
    config.trackers = ()  # where rows go too: "wandb", "mlflow", "trackio"
    config.profile = ""  # steps to trace, such as "100:110"; "": none
    return config.lock()


def model_at(image_size: int, name: str) -> str:
    """The name itself, if the original trains such a model at that size.

    Raises:
        ValueError: it does not, or there is no such model; lists those that fit.
    """
    fitting = [spec.name for spec in MODELS.values() if spec.image_size == image_size]
    if name not in fitting:
        raise ValueError(
            f"no model {name!r} for {image_size} pixels; expected one of {', '.join(fitting)}"
        )
    return name
