"""The first 16 training images of coco128, trained and evaluated on: proves the whole chain.

python train_main.py --config=configs/overfit.py --config.data.path=FOLDER
"""

import dataclasses

from yolor_jax.augment.config import NO_AUGMENTATION
from yolor_jax.configs import coco128


def get_config():
    """No augmentation; an AP50 near 1 is the aim."""
    config = coco128.get_config()
    config.data.first = 16
    config.data.eval_split = "train2017"
    config.epochs = 300.0
    config.eval.every_epochs = 150.0
    config.augment.update(dataclasses.asdict(NO_AUGMENTATION))
    return config
