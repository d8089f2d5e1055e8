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


def save_run(
    workdir: str | os.PathLike,
    variables: Mapping[str, Any],
    *,
    step: int = 1,
    meta: Mapping[str, Any] = META,
) -> None:
    """Saves variables as the moving average of a run; all else of it is zero.

    Args:
        workdir: of the run.
        variables: of the network that ``meta`` tells of.
        step: of the checkpoint.
        meta: of the run; that of ``yolor_test`` with three classes by default.
    """
    zeros = jax.tree.map(np.zeros_like, variables)
    state = TrainState(
        step=np.int32(step),
        updates=np.int32(step),
        params=zeros["params"],
        batch_stats=zeros["batch_stats"],
        ema_params=variables["params"],
        ema_batch_stats=variables["batch_stats"],
        opt_state={},
        gradients={},
    )
    with Checkpoints(workdir, dict(meta)) as checkpoints:
        checkpoints.save(step, state, position=0)
