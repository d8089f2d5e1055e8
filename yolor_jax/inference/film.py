"""Films, cameras and streams in, as frames with time stamps; films out.

    for frame in Film("film.mp4").frames():
        frame.number, frame.seconds, frame.image

    with film_writer("out.mp4") as write:
        write(image, 25.0)

By OpenCV, with the FFmpeg in its wheel.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

from yolor_jax.inference.frame import Frame, Unread

FILM_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts",
)  # fmt: skip
"""Of files that are taken for films, in lower case."""

USUAL_RATE = 25.0
"""Frames per second of a film that does not say."""
_SECONDS_TO_OPEN = 10.0  # a stream


@dataclasses.dataclass(frozen=True)
class Film:
    """A file, a camera or a stream.

    Attributes:
        place: the path of a file, the number of a camera, or the URL of a stream.
    """

    place: str | int

    @property
    def name(self) -> str:
        """What people are told."""
        return f"camera {self.place}" if isinstance(self.place, int) else self.place

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or a stream, which ends with its user."""
        return isinstance(self.place, int) or "://" in self.place

    def frames(self) -> Iterator[Frame | Unread]:
        """The frames, and at the end what is wrong with the film, if anything.

        Yields:
            Frames with their number, from 0, and their time in seconds: that in the film or stream,
            or of a camera, since its first frame.
        """
        with _opened(self.place) as capture:
            if not capture.isOpened():
                yield self._unread(self._why_not())
                return
            expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            rate = capture.get(cv2.CAP_PROP_FPS)
            number, started = 0, 0.0
            while True:
                is_there, image = capture.read()
                if not is_there:
                    break
                started = started or time.monotonic()
                seconds = (
                    time.monotonic() - started
                    if isinstance(self.place, int)
                    else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                )
                rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                yield Frame(self.name, rgb, number, seconds, rate=rate or USUAL_RATE)
                number += 1
            if number == 0:
                yield self._unread("no frame in it")
            elif isinstance(self.place, int):  # a user who has seen enough does not come to here
                yield self._unread(f"it stopped, after {number} frames")
            elif not self.is_live and number < expected - 1:  # containers count one too many
                yield self._unread(
                    f"it ends in the middle, after {number} of {expected:.0f} frames"
                )

    def _unread(self, reason: str) -> Unread:
        return Unread(f"{self.name}: {reason}", self.name)

    def _why_not(self) -> str:
        if isinstance(self.place, int):
            return "there is no such camera, or another program has it"
        if self.is_live:
            return "no such stream, or it does not answer"
        if not os.path.exists(self.place):
            return "no such file"
        if os.path.getsize(self.place) == 0:
            return "empty: it has no bytes"
        return "damaged, cut off, or no film of a known kind"


@contextlib.contextmanager
def _opened(place: str | int) -> Iterator[cv2.VideoCapture]:
    """OpenCV's reader; what FFmpeg has to say beside, it says to nobody."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        limit = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(1000 * _SECONDS_TO_OPEN)]
        capture = (
            cv2.VideoCapture(place)
            if isinstance(place, int)
            else cv2.VideoCapture(place, cv2.CAP_FFMPEG, limit)
        )
        try:
            yield capture
        finally:
            capture.release()
    finally:
        cv2.utils.logging.setLogLevel(before)


@contextlib.contextmanager
def film_writer(
    path: str | os.PathLike,
) -> Iterator[Callable[[UInt8[np.ndarray, "_ _ 3"], float], None]]:
    """Writes a film, MPEG-4 in an .mp4, which is whole when the body ends, however it ends.

    Args:
        path: of the film.

    Yields:
        A function that takes the frames, RGB, and how many there are in a second. All get the size
        of the first, whose odd row or column is cut off. Without a frame no file is written.

    Raises:
        OSError: the film cannot be written.
    """
    writer: cv2.VideoWriter | None = None
    height = width = 0

    def write(image: UInt8[np.ndarray, "_ _ 3"], rate: float) -> None:
        nonlocal writer, height, width
        if writer is None:
            height, width = (side - side % 2 for side in image.shape[:2])
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(os.fspath(path), code, rate, (width, height))
            if not writer.isOpened():
                raise OSError(f"cannot write a film of {width} x {height} pixels to {path}")
        whole = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if whole.shape[:2] != (height, width):  # OpenCV would leave such a frame out
            whole = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
        writer.write(cv2.cvtColor(whole, cv2.COLOR_RGB2BGR))

    try:
        yield write
    finally:
        if writer is not None:
            writer.release()
