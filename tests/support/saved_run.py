"""A workdir with the checkpoint of a run that never ran, for the tests of what opens one."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.state import TrainState

META = {
    "model": "yolor_test",
    "implicit": None,
    "num_classes": 3,
    "class_names": ["cat", "dog", "sheep"],
    "image_size": 64,
}


def save_run(workdir: str | os.PathLike, variables: Mapping[str, Any]) -> None:
    """Saves variables as the moving average of a run of `META`; all else of it is zero.

    Args:
        workdir: of the run.
        variables: of ``yolor_test`` with three classes.
    """
    zeros = jax.tree.map(np.zeros_like, variables)
    state = TrainState(
        step=np.int32(1),
        updates=np.int32(1),
        params=zeros["params"],
        batch_stats=zeros["batch_stats"],
        ema_params=variables["params"],
        ema_batch_stats=variables["batch_stats"],
        opt_state={},
        gradients={},
    )
    with Checkpoints(workdir, META) as checkpoints:
        checkpoints.save(1, state, position=0)
