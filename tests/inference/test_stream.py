"""Pictures to predictions in order, with what cannot be read in its place."""

import itertools

import cv2
import numpy as np
import pytest

from yolor_jax.inference.frame import Encoded, Frame, Unread
from yolor_jax.inference.prediction import Prediction
from yolor_jax.inference.predictor import Predictor
from yolor_jax.inference.stream import stream


class Brightness(Predictor):
    """In place of a network: its score is the brightness of the picture; two at once."""

    def __init__(self):
        self.enough_hw = None

    def prepare_scaled(self, picture):
        return picture.image.mean() / 255

    def each_prepared(self, prepared):
        iterator = iter(prepared)
        while pair := list(itertools.islice(iterator, 2)):
            for score in pair:
                box, label = np.zeros((1, 4), np.float32), np.zeros(1, np.int32)
                yield Prediction(box, np.array([score], np.float32), label)


def grey(shade):
    return np.full((8, 8, 3), shade, np.uint8)


def said(items, threads=2):
    return [
        one.reason if isinstance(one, Unread) else (one.frame.source, shade_of(one.prediction))
        for one in stream(items, Brightness(), threads=threads)
    ]


def shade_of(prediction):
    return round(255 * float(prediction.scores[0]))


@pytest.mark.parametrize("threads", [1, 3])
def test_everything_in_its_place(tmp_path, threads):
    for shade in range(0, 200, 20):
        cv2.imwrite(str(tmp_path / f"{shade}.png"), grey(shade))
    (tmp_path / "text.jpg").write_text("no image")
    order = ["text.jpg", "0.png", "text.jpg", "text.jpg", "20.png", "40.png", "gone.png", "60.png"]
    got = said([tmp_path / name for name in order], threads)
    assert [one[1] if isinstance(one, tuple) else one for one in got] == [
        f"{tmp_path}/text.jpg: damaged, or no image of a known format (JPEG, PNG, BMP, GIF, WEBP, "
        "TIFF, AVIF)",
        0,
        got[0],
        got[0],
        20,
        40,
        f"{tmp_path}/gone.png: No such file or directory",
        60,
    ]
    many = [tmp_path / f"{20 * (i % 10)}.png" for i in range(100)]
    assert [shade for _, shade in said(many, threads)] == [20 * (i % 10) for i in range(100)]


def test_frames_and_what_was_in_files(tmp_path):
    data = cv2.imencode(".png", grey(70))[1].tobytes()
    frame, nothing = Frame("f", grey(9), 0, 0.0), Unread("no", "u")
    items = [frame, Encoded("e.png", data), Encoded("x", b""), nothing]
    assert said(items) == [("f", 9), ("e.png", 70), "x: empty: it has no bytes", "no"]
    assert said([]) == []


def test_of_an_endless_film_as_much_as_is_asked_for():
    endless = (Frame("f", grey(i % 200), i, 0.0) for i in itertools.count())
    seen = stream(endless, Brightness(), threads=1)
    assert [next(seen).frame.number for _ in range(5)] == list(range(5))
    seen.close()
