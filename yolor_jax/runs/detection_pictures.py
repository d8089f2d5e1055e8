"""The pictures that detection leaves: none, copies with boxes drawn on them, or each object alone.

    with Copies(folder, class_names).of(source) as picture:
        row, save = picture(frame, prediction, row)   # in order, which settles the names
        save()                                        # by any thread; of a film, by one in order

Nothing that exists is overwritten.
"""

import contextlib
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from yolor_jax.inference.film import Film, film_writer
from yolor_jax.inference.frame import Frame
from yolor_jax.inference.places import Places
from yolor_jax.inference.prediction import Prediction
from yolor_jax.inference.rows import Row
from yolor_jax.inference.sources import Pictures
from yolor_jax.pictures.drawing import draw_boxes, save_image

ENDING = ".jpg"
"""Of all copies: a PNG takes ten times as long to encode, and four times the room."""
KEPT_ENDINGS = {".jpg", ".jpeg"}
"""Of pictures whose copies keep their own."""

Picture = Callable[[Frame, Prediction, Row], tuple[Row, Callable[[], None]]]
"""Gives the row with the names of its pictures, and what saves them."""


class NoPictures:
    """Rows are all that is wanted."""

    @contextlib.contextmanager
    def of(self, source: Pictures | Film) -> Iterator[Picture]:
        """Leaves rows as they are."""
        yield lambda frame, prediction, row: (row, lambda: None)


class Copies:
    """A copy of each picture, or of a film, with boxes drawn on it; its name is ``annotated``."""

    def __init__(self, folder: pathlib.Path, class_names: Sequence[str]):
        """Of a folder that is there."""
        self._places = Places(folder)
        self._class_names = class_names

    @contextlib.contextmanager
    def of(self, source: Pictures | Film) -> Iterator[Picture]:
        """Of a source; a film is whole when the body ends."""
        if isinstance(source, Pictures):
            yield self._picture
            return
        place = self._places.take(f"{_stem(source.name)}.mp4")
        with film_writer(place) as write:
            yield lambda frame, prediction, row: (
                {**row, "annotated": place.name},
                lambda: write(self._draw(frame, prediction), frame.rate),
            )

    def _picture(self, frame: Frame, prediction: Prediction, row: Row):
        place = self._places.take(_stem(frame.source) + _ending(frame))
        return (
            {**row, "annotated": place.name},
            lambda: save_image(place, self._draw(frame, prediction)),
        )

    def _draw(self, frame: Frame, prediction: Prediction):
        return draw_boxes(
            frame.image,
            prediction.boxes_xyxy,
            prediction.labels,
            prediction.scores,
            class_names=self._class_names,
        )


class Crops:
    """Each object alone, in a folder by its class; the name in its detection is ``crop``."""

    def __init__(self, folder: pathlib.Path, class_names: Sequence[str]):
        """Of a folder that is there."""
        self._folders = [folder / "crops" / _plain(name) for name in class_names]
        self._places = {place: Places(place) for place in self._folders}

    @contextlib.contextmanager
    def of(self, source: Pictures | Film) -> Iterator[Picture]:
        """Of a source."""
        yield self._picture

    def _picture(self, frame: Frame, prediction: Prediction, row: Row):
        stem = _stem(frame.source) + ("" if frame.number is None else f"-{frame.number}")
        boxes, places = [], []
        for number, box in enumerate(row["detections"]):
            folder = self._folders[box["label"]]
            place = self._places[folder].take(f"{stem}-{number}{_ending(frame)}")
            boxes.append({**box, "crop": "/".join(place.parts[-3:])})
            places.append(place)

        def save() -> None:
            for place, box_xyxy in zip(places, prediction.boxes_xyxy, strict=True):
                place.parent.mkdir(parents=True, exist_ok=True)
                save_image(place, crop(frame.image, box_xyxy))

        return {**row, "detections": boxes}, save


PICTURES = {"none": lambda folder, class_names: NoPictures(), "drawn": Copies, "crops": Crops}
"""What ``--pictures`` names, made of a folder and the names of all classes."""


def crop(
    image: UInt8[np.ndarray, "_ _ 3"], box_xyxy: Float[np.ndarray, "4"]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """The pixels that a box inside an image touches; at least one."""
    height, width = image.shape[:2]
    left, top = np.minimum(box_xyxy[:2].astype(int), [width - 1, height - 1])
    right, bottom = np.maximum(np.ceil(box_xyxy[2:]).astype(int), [left + 1, top + 1])
    return image[top:bottom, left:right]


def _ending(frame: Frame) -> str:
    suffix = pathlib.PurePath(frame.source).suffix
    return suffix if frame.number is None and suffix.lower() in KEPT_ENDINGS else ENDING


def _stem(source: str) -> str:
    """Of a file its name; of cameras and streams their own, as far as a file can have it."""
    return _plain(source) if "://" in source else pathlib.PurePath(source).stem


def _plain(name: str) -> str:
    """A name for a file or folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "unnamed"
