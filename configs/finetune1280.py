"""Fine-tuning on COCO at 1280 pixels with stronger augmentation, after `coco1280.py` (paper, 4.1).

python train_main.py --config=configs/finetune1280.py:yolor_p6 --config.data.path=data/coco \
    --config.init=runs/coco1280/yolor_p6 --workdir=runs/p6_tuned
"""

from ml_collections.config_dict import required_placeholder

from configs import coco1280


def get_config(model="yolor_p6"):
    """The settings of `coco1280` for 150 epochs on given weights, with wider scales and mixup."""
    config = coco1280.get_config(model)
    config.init = required_placeholder(str)
    config.epochs = 150.0
    config.augment.translate = 0.5
    config.augment.scale = 0.8
    config.augment.mixup = 0.2
    return config
