"""One pass of a network over a split: every image exactly once, on one device or many.

The device computes a batch while the host works on the one before. The padding of the last batch is
left out; an image that comes twice or never is an error, so a number stands for the whole split.

    for positions, outputs in each_image(compute, variables, batches, ids, inputs=letterboxed):
        ...                                 # outputs[i] belongs to the image at positions[i]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding
from jaxtyping import Int, PyTree

from yolor_jax.data.example import Batch
from yolor_jax.errors import InputError
from yolor_jax.progress import progress as progress_bar


@runtime_checkable
class Truth(Protocol):
    """What evaluation asks of a data source."""

    image_ids: Sequence[int]
    category_ids: Sequence[int]

    def ground_truth(self) -> dict:
        """The split in COCO's format."""


def each_image(
    compute: Callable[..., PyTree],
    variables: Mapping[str, Any],
    batches: Iterable[Batch],
    ids: Int[np.ndarray, " n"],
    *,
    inputs: Callable[[Batch], tuple],
    sharding: Sharding | None = None,
    progress: bool = True,
    title: str = "evaluating",
) -> Iterator[tuple[np.ndarray, PyTree]]:
    """What a network says of each batch, without its padding.

    Args:
        compute: jitted ``(variables, *arrays) -> outputs``; axis 0 of all outputs is the batch.
        variables: of the network, on the device (or devices) already.
        batches: every image of the split once; ``valid`` is false for padding. In a run of
            several processes, each one's share of every batch, and as many batches for each.
        ids: of the images, by position.
        inputs: the arrays of a batch that ``compute`` takes.
        sharding: how the leading axis of a batch lies on the devices; None for one device.
        progress: whether to show a bar, counting images.
        title: of the bar.

    Yields:
        The positions of a batch's real images, and their outputs as NumPy arrays; the same in every
        process.

    Raises:
        InputError: an image comes twice, never, or from nowhere.
    """
    seen = np.zeros(len(ids), np.int64)
    hidden = not progress or jax.process_index() != 0
    with progress_bar(total=len(ids), desc=title, unit="image", disable=hidden) as bar:
        for index, outputs in _in_turn(compute, variables, batches, inputs, sharding):
            _count(seen, index)
            yield index, outputs
            bar.update(len(index))
    if not seen.all():
        missing = np.nonzero(seen == 0)[0]
        raise InputError(
            f"{len(missing)} of {len(ids)} images never came, the first at position {missing[0]} "
            f"(image id {ids[missing[0]]}): evaluation takes every image of the split"
        )


def _in_turn(compute, variables, batches, inputs, sharding) -> Iterator[tuple[np.ndarray, PyTree]]:
    """A batch is fetched only after the next one has been sent to the device."""
    waiting = None
    for batch in batches:
        index, valid, *arrays = _place((batch.index, batch.valid, *inputs(batch)), sharding)
        outputs = compute(variables, *arrays)
        if waiting is not None:
            yield _fetch(*waiting)
        waiting = outputs, index, valid
    if waiting is not None:
        yield _fetch(*waiting)


def _place(arrays: tuple, sharding: Sharding | None) -> tuple:
    """Sends this process's share of a batch to its devices."""
    if sharding is None:
        return jax.device_put(arrays)
    return tuple(
        jax.make_array_from_process_local_data(sharding, np.asarray(array)) for array in arrays
    )


def _fetch(outputs: PyTree, index: jax.Array, valid: jax.Array) -> tuple[np.ndarray, PyTree]:
    """Brings a batch to the host, to every one if there are several, without its padding."""
    if jax.process_count() > 1:
        outputs, index, valid = multihost_utils.process_allgather(
            (outputs, index, valid), tiled=True
        )
    outputs, index, valid = jax.device_get((outputs, index, valid))
    return index[valid], jax.tree.map(lambda array: array[valid], outputs)


def _count(seen: np.ndarray, index: np.ndarray) -> None:
    """Notes which images came; raises InputError if one came before or is none of the split."""
    foreign = index[(index < 0) | (index >= len(seen))]
    if len(foreign):
        raise InputError(
            f"a batch has the image at position {foreign[0]}, but the split has {len(seen)} "
            "images: do batches and source belong together?"
        )
    np.add.at(seen, index, 1)
    if (seen > 1).any():
        raise InputError(
            f"the image at position {np.argmax(seen > 1)} came twice: evaluation takes every image "
            "once, so use batches without shuffling, repetition or overlap between processes"
        )
