"""One's own data, whatever they are: sizes and lengths are chosen from them.

    yolor train --data FOLDER
    yolor train own --data FOLDER --config.image_size=640    # what is given stays

Settings that are None here are decided when the data are open, by the rules of
`yolor_jax.runs.own_rules`.
"""

from ml_collections.config_dict import placeholder

from yolor_jax.configs import quickstart


def get_config():
    """The quickstart's optimiser with a moving average and a weight decay for short runs."""
    config = quickstart.get_config()
    config.model.name = placeholder(str)
    config.image_size = placeholder(int)
    config.batch_size = placeholder(int)
    config.epochs = placeholder(float)
    config.data.path = "data/own"
    config.data.train_split = placeholder(str)
    config.data.eval_split = placeholder(str)
    config.data.max_targets = placeholder(int)
    config.augment.translate = 0.1
    config.augment.scale = 0.3
    config.loss.classification = placeholder(float)
    config.optim.learning_rate = placeholder(float)
    config.optim.weight_decay = 0.05
    config.optim.ema_decay = 0.998
    config.optim.ema_tau = 100.0
    config.eval.every_epochs = placeholder(float)
    config.eval.batch_size = 16
    config.eval.recalibrate = 256
    config.eval.nms.max_candidates = 4096
    config.eval.nms.max_detections = 300
    return config
