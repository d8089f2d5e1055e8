"""Films in and out: frames, times, and what is wrong with them."""

import functools
import http.server
import threading

import numpy as np
import pytest

from tests.support.films import write_film
from yolor_jax.inference.film import Film, film_writer
from yolor_jax.inference.frame import Frame, Unread


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def reasons(place):
    return [one.reason for one in Film(place).frames() if isinstance(one, Unread)]


@pytest.mark.parametrize("ending", [".avi", ".mp4"])
def test_frames_and_their_times(tmp_path, ending):
    write_film(tmp_path / f"f{ending}", 12, rate=10)
    frames = list(Film(str(tmp_path / f"f{ending}")).frames())
    assert all(isinstance(frame, Frame) for frame in frames)
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(12) / 10, atol=1e-3)
    assert {frame.rate for frame in frames} == {10.0}
    assert frames[3].image.shape == (64, 64, 3)
    shades = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(shades, 10 * np.arange(12), atol=4)


def test_colours_are_rgb(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    with film_writer(tmp_path / "red.mp4") as write:
        for _ in range(3):
            write(red, 5.0)
    first, *_ = Film(str(tmp_path / "red.mp4")).frames()
    assert first.image[..., 0].mean() > 220 and first.image[..., 1:].mean() < 40
    assert first.rate == 5.0


def test_a_film_that_ends_in_the_middle_gives_what_there_was(tmp_path):
    write_film(tmp_path / "whole.avi", 20)
    data = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) * 3 // 4])
    *frames, last = Film(str(tmp_path / "half.avi")).frames()
    assert 3 < len(frames) < 19 and all(isinstance(frame, Frame) for frame in frames)
    assert f"half.avi: it ends in the middle, after {len(frames)} of 20 frames" in last.reason


def test_what_is_no_film(tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "nothing.mp4").touch()
    write_film(tmp_path / "whole.mp4", 5)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[:-400])  # the index of an .mp4 is at its end
    write_film(tmp_path / "without.avi", 0)
    for name, reason in {
        "text.mp4": "damaged, cut off, or no film",
        "nothing.mp4": "empty: it has no bytes",
        "cut.mp4": "damaged, cut off, or no film",
        "without.avi": "no ",
        "gone.mp4": "no such file",
    }.items():
        [said] = reasons(str(tmp_path / name))
        assert f"{name}: {reason}" in said, said


def test_a_stream(tmp_path):
    write_film(tmp_path / "f.mp4", 8, rate=10)
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        frames = list(Film(f"http://127.0.0.1:{server.server_port}/f.mp4").frames())
        server.shutdown()
    assert [frame.number for frame in frames] == list(range(8))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(8) / 10, atol=1e-3)


def test_cameras_and_streams_that_are_not_there():
    assert reasons(97) == ["camera 97: there is no such camera, or another program has it"]
    assert "no such stream, or it does not answer" in reasons("rtsp://127.0.0.1:9/x")[0]


def test_a_film_is_whole_whatever_ends_its_making(tmp_path):
    with pytest.raises(KeyError), film_writer(tmp_path / "f.mp4") as write:
        for _ in range(4):
            write(np.zeros((65, 99, 3), np.uint8), 25.0)
        write(np.zeros((48, 48, 3), np.uint8), 25.0)  # a stream may change its size
        raise KeyError
    frames = list(Film(str(tmp_path / "f.mp4")).frames())
    assert len(frames) == 5 and frames[0].image.shape == (64, 98, 3)
    with film_writer(tmp_path / "none.mp4"):
        pass
    assert not (tmp_path / "none.mp4").exists()
    with pytest.raises(OSError, match="cannot write a film of 64 x 64"):
        with film_writer(tmp_path / "gone" / "f.mp4") as write:
            write(np.zeros((64, 64, 3), np.uint8), 25.0)
