"""From scratch on COCO at 640 pixels, for every model with strides up to 32 (paper, section 4.1).

python train_main.py --config=configs/coco640.py:yolor_csp --config.data.path=data/coco
"""

from yolor_jax.configs import base

# The original trains its small models by a recipe of their own.
SMALL = {"augment.scale": 0.5, "loss.classification": 0.5, "loss.objectness": 1.0}


def get_config(model="yolor_csp"):
    """The settings of `base`, with bfloat16 activations; 300 epochs."""
    config = base.get_config()
    config.model.name = base.model_at(640, model)
    config.image_size = 640
    config.bfloat16 = True
    if model.startswith("yolor_ssss"):
        config.update_from_flattened_dict(SMALL)
    config.eval.nms.max_candidates = 30_000
    return config
