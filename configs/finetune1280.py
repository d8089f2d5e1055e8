"""Fine-tuning at 1280 pixels with stronger augmentation, after `coco1280.py` (paper, section 4.1).

python train_main.py --config=configs/finetune1280.py:yolor_p6 --config.data.path=data/coco \
    --config.init=runs/coco1280/yolor_p6
"""

from ml_collections.config_dict import placeholder

from yolor_jax.configs import coco1280


def get_config(model="yolor_p6"):
    """The settings of `coco1280` on given weights: 150 epochs, wider scales, and mixup."""
    config = coco1280.get_config(model)
    config.init = placeholder(str)  # must be given
    config.epochs = 150.0
    config.augment.scale = 0.8
    config.augment.mixup = 0.2
    return config
