"""The first 16 training images of coco128, trained and evaluated on: proves the whole chain.

python train_main.py --config=configs/overfit.py --config.data.path=FOLDER
"""

from configs import coco128


def get_config():
    """No augmentation; an AP50 near 1 is the aim."""
    config = coco128.get_config()
    config.data.first = 16
    config.data.eval_split = "train2017"
    config.epochs = 800.0
    config.eval.every_epochs = 400.0
    config.augment.flip_probability = 0.0
    config.augment.hue = 0.0
    config.augment.saturation = 0.0
    config.augment.value = 0.0
    return config
