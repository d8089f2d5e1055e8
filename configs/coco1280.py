"""From scratch on COCO at 1280 pixels, for every model with a stride of 64 (paper, section 4.1).

python train_main.py --config=configs/coco1280.py:yolor_p6 --config.data.path=data/coco
"""

from yolor_jax.configs import base


def get_config(model="yolor_p6"):
    """The settings of `base` with other gains, and bfloat16 activations; 300 epochs."""
    config = base.get_config()
    config.model.name = base.model_at(1280, model)
    config.image_size = 1280
    config.bfloat16 = True
    config.augment.translate = 0.5
    config.augment.scale = 0.5
    config.loss.classification = 0.5  # per 80 classes
    config.loss.objectness = 1.0
    config.eval.nms.max_candidates = 30_000
    return config
