"""How fast `runs.detection` goes on this machine, and where the time goes.

    figures = measure(predictor, scaled, class_names, files, threads=2, rounds=3)
    figures["parts"]["read"], figures["whole"]["none"]["pictures_per_second"]

Each part on its own, one picture after the other in one thread, by the clock and by CPU time; their
sum is what a picture takes where nothing goes on beside something else. Then the whole, as ``yolor
detect`` does it, without pictures, with scaled decode, and with drawn ones, in turn. Compilation is
not in it.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2

from yolor_jax.errors import InputError
from yolor_jax.inference.frame import Frame, Unread, read_picture
from yolor_jax.inference.predictor import Prediction, Predictor, Prepared
from yolor_jax.inference.rows import Row, row_of
from yolor_jax.inference.sources import Pictures
from yolor_jax.inference.writers import open_writer
from yolor_jax.pictures.drawing import draw_boxes, save_image
from yolor_jax.runs.detection import Detection

SCALED = "none --scaled-decode"
WHOLES = ("none", SCALED, "drawn")
"""Of ``--pictures``, what is measured."""


def measure(
    predictor: Predictor,
    scaled: Predictor,
    class_names: Sequence[str],
    files: Sequence[pathlib.Path],
    *,
    threads: int,
    rounds: int,
) -> dict[str, Any]:
    """The figures, medians over the rounds.

    Args:
        predictor: the network.
        scaled: the same, with ``scaled_decode``.
        class_names: of all classes.
        files: pictures, at least one.
        threads: that read, and as many that draw, in the whole.
        rounds: of everything, in turn.

    Returns:
        ``parts``: by name ``ms`` and ``cpu_ms`` of a picture; ``read_scaled``: those of what reads
        with scaled decode, in place of the first part; ``whole``: by ``--pictures``
        ``pictures_per_second`` and ``busy``, the share of the time in which the device worked;
        ``compile_seconds``.

    Raises:
        InputError: there is no picture, or one cannot be read.
    """
    if not files or rounds < 1:
        raise InputError(f"got {len(files)} pictures and {rounds} rounds; expected one at least")
    cv2.setNumThreads(0)  # as in yolor detect
    for one in (predictor, scaled):
        one([read_picture(files[0]).image])  # compiles
    parts, reads, wholes = [], [], []
    for _ in range(rounds):
        parts.append(_parts(predictor, class_names, files))
        watch = _Watch(len(files))
        watch.part("read", lambda: [read_picture(file, scaled.enough_hw) for file in files])
        reads.append(watch.parts)
        wholes.append(
            {
                kind: _whole(
                    scaled if kind == SCALED else predictor, class_names, files, kind, threads
                )
                for kind in WHOLES
            }
        )
    return {
        "parts": _medians(parts),
        "read_scaled": _medians(reads)["read"],
        "whole": _medians(wholes),
        "compile_seconds": predictor.compile_seconds,
    }


def _parts(
    predictor: Predictor, class_names: Sequence[str], files: Sequence[pathlib.Path]
) -> dict[str, dict[str, float]]:
    """Milliseconds of a picture by part."""
    watch = _Watch(len(files))
    frames: list[Frame] = watch.part("read", lambda: [read_picture(file) for file in files])
    prepared: list[Prepared] = watch.part(
        "letterbox", lambda: [predictor.prepare(frame.image) for frame in frames]
    )
    predictions: list[Prediction] = watch.part(
        "network", lambda: list(predictor.each_prepared(prepared))
    )
    rows: list[Row] = [
        row_of(frame.source, frame.image.shape[:2], prediction, class_names)
        for frame, prediction in zip(frames, predictions, strict=True)
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        writer = open_writer("json", folder, {"class_names": list(class_names)})
        watch.part("write rows", lambda: [writer.add(row) for row in rows])

        def draw() -> None:
            for i, (boxes_xyxy, scores, labels, _) in enumerate(predictions):
                image = frames[i].image
                drawn = draw_boxes(image, boxes_xyxy, labels, scores, class_names=class_names)
                save_image(folder / f"{i}.jpg", drawn)  # a new file each, as in yolor detect

        watch.part("draw", draw)
    return watch.parts


def _whole(
    predictor: Predictor,
    class_names: Sequence[str],
    files: Sequence[pathlib.Path],
    kind: str,
    threads: int,
) -> dict[str, float]:
    """As ``yolor detect`` does it, one of `WHOLES`."""
    pictures = kind.split()[0]
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        writer = open_writer("json", folder, {"class_names": list(class_names)})
        work = Detection(predictor, class_names, writer, folder, pictures=pictures, threads=threads)
        busy = predictor.busy_seconds
        for done in work.each([Pictures(files)]):
            if isinstance(done, Unread):
                raise InputError(done.reason)
        speed = work.speed()
    return {
        "pictures_per_second": speed.frames_per_second,
        "busy": (predictor.busy_seconds - busy) / speed.seconds,
    }


class _Watch:
    """Times parts of work."""

    def __init__(self, pictures: int):
        self.parts: dict[str, dict[str, float]] = {}
        self._pictures = pictures

    def part(self, name: str, work: Callable[[], Any]) -> Any:
        """What the work returns; its times are under its name."""
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        self.parts[name] = {
            "ms": 1000 * (time.perf_counter() - wall) / self._pictures,
            "cpu_ms": 1000 * (time.process_time() - cpu) / self._pictures,
        }
        return made


def _medians(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in values}
        for name, values in rounds[0].items()
    }
