"""Exact statistics of batch norm beside a checkpoint: taken after it was saved, and used with it.

    write(folder, 3400, batch_stats, images=256)
    read(folder, 3400)  # (batch_stats, 256), or None

They are no part of the state that training goes on with, which stays what it was to the bit.
"""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from yolor_jax import bucket
from yolor_jax.training.checkpoints.folder import DamagedError
from yolor_jax.trees import flatten_by_path
from yolor_jax.whole_file import whole_file

EXACT_STATISTICS = "exact_statistics"
"""Under which name ``meta`` of a network says from how many images its statistics are exact."""
FILE = f"{EXACT_STATISTICS}.safetensors"


def write(folder: epath.Path, step: int, batch_stats: Mapping[str, Any], *, images: int) -> None:
    """Notes the statistics of a finished checkpoint; the file appears whole.

    Args:
        folder: of the checkpoints.
        step: of the checkpoint.
        batch_stats: arrays on the host.
        images: that they were taken from.
    """
    leaves = {name: np.asarray(leaf) for name, leaf in flatten_by_path(batch_stats).items()}
    count = {EXACT_STATISTICS: np.array(images, np.int64)}
    with whole_file(folder / str(step) / FILE) as file:
        safetensors.numpy.save_file(leaves | count, file)


def read(folder: epath.Path, step: int) -> tuple[dict[str, Any], int] | None:
    """The statistics of a checkpoint, and of how many images they are; None if there are none.

    Raises:
        DamagedError: the file is not as it was written.
        OSError: a bucket cannot be read.
    """
    path = folder / str(step) / FILE
    try:
        with bucket.as_os_error(path):
            data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        leaves = safetensors.numpy.load(data)
        images = int(leaves.pop(EXACT_STATISTICS))
    except (safetensors.SafetensorError, KeyError) as error:
        raise DamagedError(folder, step, f"{FILE} cannot be read ({error}); delete it") from error
    return flax.traverse_util.unflatten_dict(leaves, sep="/"), images


def remove(folder: epath.Path, step: int) -> bool:
    """Takes the statistics of a checkpoint away; whether there were any."""
    path = folder / str(step) / FILE
    with bucket.as_os_error(path):
        if not path.exists():
            return False
        path.unlink()
    return True
