"""The batch at which a run stopped because its loss or gradient was not finite, kept for a replay.

    path = save(workdir, BadBatch(step, key_data, terms, image_ids, batch))
    bad = load(path)
    key = jax.random.fold_in(jax.random.wrap_key_data(bad.key_data), bad.step - 1)

The file holds what the host gave to the step, before augmentation, and the key of the run; the
parameters of that step are not in it.
"""

import os
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt32

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError


class BadBatch(NamedTuple):
    """A host batch and the step it was for.

    Attributes:
        step: number of batches, this one included.
        key_data: of the run's key, ``jax.random.key_data``.
        terms: the metrics of the step.
        image_ids: of the batch, or positions in the split where there are no ids.
        batch: NumPy arrays, of all processes together.
    """

    step: int
    key_data: UInt32[np.ndarray, " words"]
    terms: dict[str, float]
    image_ids: list[int]
    batch: Batch


def save(folder: str | os.PathLike, bad: BadBatch) -> pathlib.Path:
    """Write a bad batch; the file appears whole.

    Args:
        folder: a run's workdir.
        bad: the batch; in a run of several processes this one's share.

    Returns:
        The file: ``bad_batch_STEP.npz``, or ``bad_batch_STEP.INDEX-of-COUNT.npz`` for a share.

    Raises:
        OSError: if it cannot be written.
    """
    index, count = jax.process_index(), jax.process_count()
    share = f".{index}-of-{count}" if count > 1 else ""
    path = pathlib.Path(folder) / f"bad_batch_{bad.step}{share}.npz"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            step=bad.step,
            key_data=bad.key_data,
            terms=np.array(list(bad.terms)),
            values=np.array(list(bad.terms.values()), np.float64),
            image_ids=np.array(bad.image_ids, np.int64),
            **{f"batch_{name}": array for name, array in bad.batch._asdict().items()},
        )
    part.replace(path)
    return path


def load(path: str | os.PathLike) -> BadBatch:
    """Read a bad batch; from one process's share, those of all, which must lie beside it.

    Raises:
        FileNotFoundError: if there is no such file, or a share is missing.
        InputError: if it is no file of `save`.
    """
    path = pathlib.Path(path)
    share = re.fullmatch(r"(.*)\.\d+-of-(\d+)\.npz", path.name)
    names = [path.name]
    if share:
        names = [f"{share[1]}.{index}-of-{share[2]}.npz" for index in range(int(share[2]))]
    try:
        return _joined([_read(path.with_name(name)) for name in names])
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no bad batch of a training run, or damaged") from error


def _read(path: pathlib.Path) -> BadBatch:
    with np.load(path, allow_pickle=False) as file:
        return BadBatch(
            int(file["step"]),
            file["key_data"],
            dict(zip(file["terms"].tolist(), file["values"].tolist(), strict=True)),
            file["image_ids"].tolist(),
            Batch(**{n: file[f"batch_{n}"] for n in Batch._fields if f"batch_{n}" in file}),
        )


def _joined(shares: Sequence[BadBatch]) -> BadBatch:
    """The whole batch; processes in order make it."""
    return shares[0]._replace(
        image_ids=[image_id for share in shares for image_id in share.image_ids],
        batch=jax.tree.map(lambda *arrays: np.concatenate(arrays), *(s.batch for s in shares)),
    )
