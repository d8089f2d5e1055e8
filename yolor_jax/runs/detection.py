"""Finding objects in whatever there is: sources in, a file of rows and pictures out.

    work = Detection(predictor, class_names, writer, folder, pictures="drawn", threads=4)
    for done in work.each(find(["photos/"]).sources):
        ...                      # a row that is on disk, or `Unread`
    work.speed()

Threads read and draw, the device computes, and rows are written in order, as they come.
"""

import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2

from yolor_jax.errors import InputError
from yolor_jax.inference.batching import in_threads
from yolor_jax.inference.film import Film
from yolor_jax.inference.formats import Key, Writer
from yolor_jax.inference.frame import Frame, Unread
from yolor_jax.inference.predictor import BatchPredictor
from yolor_jax.inference.rows import Row, row_of
from yolor_jax.inference.sources import Pictures
from yolor_jax.inference.stream import Seen, stream
from yolor_jax.runs.detection_pictures import PICTURES, Picture


class Done(NamedTuple):
    """A frame whose row is on disk.

    Attributes:
        row: of `row_of`, and what was drawn of it.
        frames: of an animated picture, of which the first was looked at.
    """

    row: Row
    frames: int


class Speed(NamedTuple):
    """How fast it went.

    Attributes:
        frames: that were looked at.
        seconds: that it took, without compilation.
        busy: the share of them in which the device worked, 0..1; None where nobody knows.
        compile_seconds: that compilation took; likewise.
    """

    frames: int
    seconds: float
    busy: float | None
    compile_seconds: float | None

    @property
    def frames_per_second(self) -> float:
        """Of the whole."""
        return self.frames / self.seconds


class Detection:
    """One go through sources."""

    def __init__(
        self,
        predictor: BatchPredictor,
        class_names: Sequence[str],
        writer: Writer,
        folder: pathlib.Path,
        *,
        pictures: str = "none",
        threads: int = 1,
        stop: Callable[[], bool] = lambda: False,
    ):
        """Prepares it.

        Args:
            predictor: the network.
            class_names: of all classes.
            writer: takes the rows, and knows which are there already: these are passed over.
            folder: for pictures.
            pictures: "none", "drawn" for a copy with boxes, "crops" for a picture of each object.
            threads: that read, and as many that draw.
            stop: asked before each frame; where it says yes, what was begun is finished.

        Raises:
            InputError: pictures are wanted of a predictor for which they are not decoded whole.
        """
        if pictures != "none" and predictor.enough_hw is not None:
            raise InputError(
                f"with scaled_decode there are not the pixels for pictures={pictures!r}; expected "
                "none"
            )
        self._predictor = predictor
        self._class_names = class_names
        self._writer = writer
        self._threads = threads
        self._stop = stop
        self._pictures = PICTURES[pictures](folder, class_names)
        self._frames = 0
        self._seconds = 0.0

    def each(self, sources: Iterable[Pictures | Film]) -> Iterator[Done | Unread]:
        """Goes through sources, one after the other.

        Yields:
            For each picture and frame, in order, what was found, once it is on disk, or why it
            could not be read.

        Raises:
            OSError: a picture or a row cannot be written.
        """
        cv2.setNumThreads(0)  # a picture a thread, not many threads a picture
        started = time.perf_counter()
        compiled = self._predictor.compile_seconds
        try:
            for source in sources:
                if not self._stop():
                    yield from self._each_of(source)
        finally:
            compiled = self._predictor.compile_seconds - compiled
            self._seconds += time.perf_counter() - started - compiled

    def speed(self) -> Speed:
        """Of what was done until now."""
        # What the device did beside a compilation is in none of the seconds.
        busy = min(self._predictor.busy_seconds / self._seconds, 1.0) if self._seconds else 0.0
        return Speed(self._frames, self._seconds, busy, self._predictor.compile_seconds)

    def _each_of(self, source: Pictures | Film) -> Iterator[Done | Unread]:
        is_film = isinstance(source, Film)
        items = self._wanted(source)
        seen = stream(items, self._predictor, threads=self._threads)
        with self._pictures.of(source) as picture:
            jobs = (one if isinstance(one, Unread) else self._job(one, picture) for one in seen)
            # The frames of a film are written one after the other, by one thread.
            for done in in_threads(_do, jobs, threads=1 if is_film else self._threads):
                if isinstance(done, Done):
                    self._writer.add(done.row)
                    self._frames += 1
                yield done

    def _job(self, seen: Seen, picture: Picture) -> tuple[Done, Callable[[], None]]:
        """The row of what was seen, and what saves its pictures."""
        frame, prediction = seen
        row = row_of(
            frame.source,
            frame.size_hw,
            prediction,
            self._class_names,
            number=frame.number,
            seconds=frame.seconds,
        )
        row, save = picture(frame, prediction, row)
        return Done(row, frame.frames), save

    def _wanted(self, source: Pictures | Film) -> Iterator[pathlib.Path | Frame | Unread]:
        """Those that have no row yet, until somebody wants to stop."""
        is_film = isinstance(source, Film)
        done = set() if is_film and source.is_live else self._writer.done
        for item in source.frames() if is_film else source.files:
            if self._stop():
                return
            if _key(item) not in done:
                yield item


def _do(job: Unread | tuple[Done, Callable[[], None]]) -> Unread | Done:
    if isinstance(job, Unread):
        return job
    done, save = job
    save()
    return done


def _key(item: pathlib.Path | Frame | Unread) -> Key | None:
    """What the row of an item will be known by."""
    if isinstance(item, Frame):
        return item.source, item.number
    return None if isinstance(item, Unread) else (str(item), None)
