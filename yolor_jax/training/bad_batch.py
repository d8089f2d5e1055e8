"""The batch at which a run stopped because its loss or gradient was not finite, kept for a replay.

    train(..., keep=keep_in(workdir, key=key, image_id=image_id))
    bad = load(workdir / "bad_batch_1234.npz")
    key = jax.random.fold_in(jax.random.wrap_key_data(bad.key_data), bad.step - 1)

The file holds what the host gave to the step, before augmentation, and the key of the run; the
parameters of that step are not in it.
"""

import os
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt32

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError
from yolor_jax.paths import Path, user_path
from yolor_jax.whole_file import whole_file

Keep = Callable[[int, dict[str, float], Batch], str]
"""Takes step, metrics and host batch of a step that went wrong; returns words of advice."""

ADVICE = "lower the learning rate, or train in float32."


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


def name_images(step: int, terms: dict[str, float], batch: Batch) -> str:
    """Keeps nothing; the words name the images by their positions in the split."""
    del step, terms
    images = [int(index) for index in batch.index]
    return (
        f"The batch was (positions in the split): {images}. "
        f"Look at these images and their boxes, {ADVICE}"
    )


def keep_in(folder: Path, *, key: jax.Array, image_id: Callable[[int], int]) -> Keep:
    """Keeps a bad batch as a file, and says how to replay it.

    Args:
        folder: the run's workdir.
        key: the run's key, from which the random numbers of each step follow.
        image_id: id of the image at a position in the split.

    Returns:
        What `training.loop.train` takes as ``keep``. It raises nothing: where the batch cannot be
        written, the words say why, because the loss that is not finite must be heard of.
    """

    def keep(step: int, terms: dict[str, float], batch: Batch) -> str:
        images = [image_id(int(index)) for index in batch.index]
        key_data = np.asarray(jax.random.key_data(key))
        look = "Look at these images and their boxes"
        try:
            path = save(folder, BadBatch(step, key_data, terms, images, batch))
            look = f"To see which it was: yolor doctor --replay {path}. Look at its boxes"
        except OSError as error:
            look = f"The batch could not be kept ({error}). {look}"
        return f"The batch was (image ids): {images}. {look}, {ADVICE}"

    return keep


def save(folder: str | os.PathLike, bad: BadBatch) -> Path:
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
    path = user_path(folder) / f"bad_batch_{bad.step}{share}.npz"
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            step=bad.step,
            key_data=bad.key_data,
            terms=np.array(list(bad.terms)),
            values=np.array(list(bad.terms.values()), np.float64),
            image_ids=np.array(bad.image_ids, np.int64),
            **{f"batch_{name}": array for name, array in bad.batch._asdict().items()},
        )
    return path


def load(path: str | os.PathLike) -> BadBatch:
    """Read a bad batch; from one process's share, those of all, which must lie beside it.

    Raises:
        FileNotFoundError: if there is no such file, or a share is missing.
        InputError: if it is no file of `save`.
    """
    path = user_path(path)
    share = re.fullmatch(r"(.*)\.\d+-of-(\d+)\.npz", path.name)
    names = [path.name]
    if share:
        names = [f"{share[1]}.{index}-of-{share[2]}.npz" for index in range(int(share[2]))]
    try:
        return _joined([_read(path.with_name(name)) for name in names])
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no bad batch of a training run, or damaged") from error


def _read(path: Path) -> BadBatch:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        fields = {n: file[k] for n in Batch._fields if (k := _key(file, n)) in file}
        fields.setdefault("identity", np.full_like(fields["labels"], -1))  # there was none once
        return BadBatch(
            int(file["step"]),
            file["key_data"],
            dict(zip(file["terms"].tolist(), file["values"].tolist(), strict=True)),
            file["image_ids"].tolist(),
            Batch(**fields),
        )


def _key(file: Mapping[str, np.ndarray], field: str) -> str:
    """Under which name a file holds a field of the batch; boxes had no format in theirs once."""
    old = {"boxes_xyxy": "batch_boxes"}.get(field)
    return old if old in file else f"batch_{field}"


def _joined(shares: Sequence[BadBatch]) -> BadBatch:
    """The whole batch; processes in order make it."""
    return shares[0]._replace(
        image_ids=[image_id for share in shares for image_id in share.image_ids],
        batch=jax.tree.map(lambda *arrays: np.concatenate(arrays), *(s.batch for s in shares)),
    )
