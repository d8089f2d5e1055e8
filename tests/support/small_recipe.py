"""The recipe of a run that takes seconds: the test model on 64 pixels, a row for each step."""

import os

from ml_collections import ConfigDict

from configs import quickstart


def small_recipe(data: str | os.PathLike) -> ConfigDict:
    """The quickstart made small.

    Args:
        data: a TFDS directory with shapes.
    """
    config = quickstart.get_config()
    config.model.name = "yolor_test"
    config.image_size = 64
    config.batch_size = 8
    config.epochs = 2.0
    config.eval.every_epochs = 1.0
    config.eval.batch_size = 8
    config.data.path = str(data)
    config.log_every = 1
    return config
