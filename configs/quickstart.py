"""yolor_nano on the built-in shapes: minutes on two CPU cores.

python train_main.py
"""

from yolor_jax.configs import base


def get_config():
    """A small network, AdamW, one cosine over the whole run."""
    config = base.get_config()
    config.model.name = "yolor_nano"
    config.image_size = 128
    config.batch_size = 8
    config.epochs = 10.8
    config.data.path = "shapes"
    config.data.train_split = "train"
    config.data.eval_split = "validation"
    config.data.max_targets = 16
    config.augment.update(mosaic=0.0, translate=0.0, scale=0.0)
    config.augment.saturation = 0.3
    config.augment.value = 0.2
    config.loss.box = 0.3
    config.loss.classification = 4.0  # per 80 classes; there are 6
    config.optim.optimizer = "adamw"
    config.optim.learning_rate = 8e-3
    config.optim.final_ratio = 0.02
    config.optim.momentum = 0.9
    config.optim.nominal_batch = 8
    config.optim.warmup_epochs = 0.0
    config.optim.warmup_min_steps = 150
    config.optim.warmup_bias_learning_rate = 0.0
    config.optim.cosine_per_step = True
    config.eval.every_epochs = 5.4
    config.eval.batch_size = 50
    config.eval.nms.max_candidates = 1024
    config.eval.nms.max_detections = 100
    return config
