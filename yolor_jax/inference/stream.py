"""Pictures to predictions, in order: threads read, the device computes, and nothing waits for it.

    for seen in stream(paths, predictor, threads=4):
        if isinstance(seen, Unread): print(seen.reason)
        else: print(seen.frame.source, len(seen.prediction.scores))

What cannot be read is a sentence in its place; the rest goes on.
"""

import collections
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from yolor_jax.errors import InputError
from yolor_jax.inference.batching import in_threads
from yolor_jax.inference.frame import Encoded, Frame, Unread, decode_picture, read_picture
from yolor_jax.inference.prediction import Prediction
from yolor_jax.inference.predictor import BatchPredictor, Prepared

Item = pathlib.Path | Encoded | Frame | Unread


class Seen(NamedTuple):
    """A frame, and what is on it."""

    frame: Frame
    prediction: Prediction


class _Ready(NamedTuple):
    """A frame as it was read, and as the network takes it."""

    frame: Frame
    prepared: Prepared


def stream(
    items: Iterable[Item], predictor: BatchPredictor, *, threads: int
) -> Iterator[Seen | Unread]:
    """Finds the objects in pictures and frames.

    Args:
        items: files of pictures, what was in such files, or what a film gives; any number.
        predictor: the network.
        threads: that read and letterbox.

    Yields:
        For each item, in order, what is on it or why it could not be read.
    """

    def read(item: Item) -> _Ready | Unread:
        try:
            frame = _frame(item, predictor.enough_hw)
        except InputError as error:
            return Unread(str(error), _source(item))
        if isinstance(frame, Unread):
            return frame
        return _Ready(frame, predictor.prepare_scaled(frame.picture))

    waiting: collections.deque[_Ready | Unread] = collections.deque()

    def prepared() -> Iterator[Prepared]:
        for ready in in_threads(read, items, threads=threads):
            waiting.append(ready)
            if isinstance(ready, _Ready):
                yield ready.prepared

    for prediction in predictor.each_prepared(prepared()):
        while isinstance(waiting[0], Unread):
            yield waiting.popleft()
        yield Seen(waiting.popleft().frame, prediction)
    yield from waiting


def _frame(item: Item, enough_hw: tuple[int, int] | None) -> Frame | Unread:
    if isinstance(item, pathlib.Path):
        return read_picture(item, enough_hw)
    return decode_picture(item, enough_hw) if isinstance(item, Encoded) else item


def _source(item: Item) -> str:
    return str(item) if isinstance(item, pathlib.Path) else item.source
