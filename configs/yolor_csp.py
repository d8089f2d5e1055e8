"""YOLOR-CSP on COCO at 640 pixels, from scratch (paper, section 4.1).

python train_main.py --config=configs/yolor_csp.py --config.data.path=data/coco
"""

from configs import base


def get_config():
    """The settings of `base` with bfloat16 activations; 300 epochs."""
    config = base.get_config()
    config.model.name = "yolor_csp"
    config.bfloat16 = True
    config.eval.nms.max_candidates = 30_000
    return config
