"""From a source to batches of static shape: read, decode, letterbox, pad, batch, shard (Grain).

Training walks an endless sequence of examples: epoch after epoch, each a new permutation of the
split drawn from (seed, epoch). That sequence depends on the seed alone; batch j of a run that
starts at example `start` holds its elements start + j * batch_size onwards, whatever the number of
threads and processes. A run that was stopped after k examples goes on exactly with `start=k`.
Everything random beyond the order happens on the device (`augment.py`).

    batches = train_batches(source, image_size=640, batch_size=16, max_targets=128, seed=0)
    batch = next(batches)
    for batch in eval_batches(source, image_size=640, batch_size=16, max_targets=128): ...
"""

import logging
import sys
import threading
from collections.abc import Iterator, Sequence

import cv2
import grain
import numpy as np

from yolor_jax.data.encoded import decode
from yolor_jax.data.example import Batch, Examples
from yolor_jax.data.letterbox import BORDER, letterbox

_logger = logging.getLogger(__name__)


def train_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 16,
) -> Iterator[Batch]:
    """Endless batches in an order that depends on `seed` alone.

    Args:
        source: The split.
        image_size: Side of the square canvas in pixels.
        batch_size: Images of one batch over all processes together.
        max_targets: Targets per image; of an image that has more, the largest are kept, and a line
            in the log counts such images.
        seed: Of the order, 0 .. 2**32 - 1.
        start: Number of examples, over all processes, that were consumed before.
        process_index: Which part of each batch to return: processes in order make the batch.
        process_count: Number of processes; must divide `batch_size`.
        threads: Threads that read and decode.

    Returns:
        An iterator of batches of ``batch_size // process_count`` images.

    Raises:
        ValueError: If an argument is out of range, or (later) an image cannot be decoded; the
            message names it.
    """
    share = _share(batch_size, process_index, process_count)
    if start < 0 or max_targets < 1 or image_size < 1:
        raise ValueError(
            f"got start={start}, max_targets={max_targets}, image_size={image_size}; expected a "
            "position of at least 0, at least one target and at least one pixel"
        )
    order = grain.MapDataset.range(len(source)).shuffle(seed=seed).repeat()
    offset = start + process_index * share

    def position(count: int) -> int:
        """Global position of the count-th example of this process."""
        return offset + count // share * batch_size + count % share

    positions = grain.MapDataset.source(_Sequence(lambda count: order[position(count)]))
    return _batches(source, positions, share, image_size, max_targets, threads)


def eval_batches(
    source: Examples,
    *,
    image_size: int,
    batch_size: int,
    max_targets: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 16,
) -> Iterator[Batch]:
    """Every image exactly once, in order; what is missing in the last batch has ``valid=False``.

    All processes return equally many batches. Arguments as for `train_batches`; with
    ``max_targets=0`` the batches come without targets, which evaluation does not need.
    """
    share = _share(batch_size, process_index, process_count)
    batch_count = -(-len(source) // batch_size)

    def position(count: int) -> int:
        """Position in the split, or -1 behind its end."""
        index = count // share * batch_size + process_index * share + count % share
        return index if index < len(source) else -1

    positions = grain.MapDataset.source(_Sequence(position, batch_count * share))
    return _batches(source, positions, share, image_size, max_targets, threads)


class _Sequence:
    """A function of a count as a sequence that Grain can read."""

    def __init__(self, function, length: int = sys.maxsize):
        self._function = function
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, count: int) -> int:
        return self._function(int(count))


class _Overflow:
    """Counts the images with too many targets, and says so at the 1st, 2nd, 4th, 8th ..."""

    def __init__(self):
        self._count = 0
        self._lock = threading.Lock()

    def report(self, name: str, targets: int, max_targets: int) -> None:
        with self._lock:
            self._count += 1
            if self._count & (self._count - 1) == 0:
                _logger.warning(
                    "%s has %d targets, more than max_targets=%d: the largest are kept "
                    "(%d such images so far); raise max_targets to keep all",
                    name, targets, max_targets, self._count,
                )  # fmt: skip


def _share(batch_size: int, process_index: int, process_count: int) -> int:
    """Images per process."""
    if not 0 <= process_index < process_count or batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"got batch_size={batch_size} for process {process_index} of {process_count}; "
            "expected a batch size that the number of processes divides"
        )
    return batch_size // process_count


def _batches(source, positions, share, image_size, max_targets, threads) -> Iterator[Batch]:
    """Reads ahead with threads: cv2 releases the interpreter while it decodes and resizes."""
    cv2.setNumThreads(0)  # one image per thread, not many threads per image
    overflow = _Overflow()

    def load(index: int) -> Batch:
        if index < 0:
            return _empty_row(np.full((image_size, image_size, 3), BORDER, np.uint8), max_targets)
        return _load(source, index, image_size, max_targets, overflow)

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * share, threads))
    rows = positions.map(load).to_iter_dataset(options)
    return iter(rows.batch(share, batch_fn=_stack))


def _stack(rows: Sequence[Batch]) -> Batch:
    """Adds the axis B."""
    return Batch(*(np.stack(field) for field in zip(*rows, strict=True)))


def _load(source, index: int, image_size: int, max_targets: int, overflow) -> Batch:
    """One image as a row of a batch: the fields of `Batch` without the axis B."""
    example = source[index]
    try:
        image = decode(example.jpeg)
    except ValueError as error:
        raise ValueError(f"image {source.name(index)} (position {index}): {error}") from error
    canvas, parameters = letterbox(image, (image_size, image_size))
    scale, pad_x, pad_y = parameters
    boxes = example.boxes_xyxy * scale + np.stack([pad_x, pad_y, pad_x, pad_y])
    if len(boxes) > max_targets > 0:
        overflow.report(source.name(index), len(boxes), max_targets)
    kept = _largest(boxes, max_targets)
    row = _empty_row(canvas, max_targets)._replace(
        index=np.int32(index),
        original_size=np.array(image.shape[:2], np.int32),
        letterbox=parameters,
        valid=np.True_,
    )
    row.boxes[: len(kept)] = boxes[kept]
    row.labels[: len(kept)] = example.labels[kept]
    row.is_crowd[: len(kept)] = example.is_crowd[kept]
    row.mask[: len(kept)] = True
    return row


def _largest(boxes_xyxy: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest boxes, in their order."""
    if len(boxes_xyxy) <= count:
        return np.arange(len(boxes_xyxy))
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    return np.sort(np.argsort(-areas, kind="stable")[:count])


def _empty_row(canvas: np.ndarray, max_targets: int) -> Batch:
    """A row without targets that is not valid."""
    return Batch(
        image=canvas,
        boxes=np.zeros((max_targets, 4), np.float32),
        labels=np.zeros(max_targets, np.int32),
        mask=np.zeros(max_targets, bool),
        is_crowd=np.zeros(max_targets, bool),
        index=np.int32(-1),
        original_size=np.array(canvas.shape[:2], np.int32),
        letterbox=np.array([1, 0, 0], np.float32),
        valid=np.False_,
    )
