"""yolor_nano on a COCO-format folder of a few hundred real images: for trials of one's own data.

    python train_main.py --config=configs/coco128.py --config.data.path=FOLDER

FOLDER holds `annotations/instances_{train2017,val2017}.json` and the images in `train2017/` and
`val2017/`. So few images teach a network little that holds on others; `configs/overfit.py` proves
the chain on 16 of them.
"""

from yolor_jax.configs import quickstart


def get_config():
    """The quickstart's optimiser on real images of 320 pixels."""
    config = quickstart.get_config()
    config.image_size = 320
    config.epochs = 50.0
    config.data.path = "data/coco128"
    config.data.train_split = "train2017"
    config.data.eval_split = "val2017"
    config.data.max_targets = 100
    config.loss.classification = 0.5
    config.eval.every_epochs = 25.0
    config.eval.batch_size = 16
    config.eval.nms.max_candidates = 4096
    config.eval.nms.max_detections = 300
    return config
