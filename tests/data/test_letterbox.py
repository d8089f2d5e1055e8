"""Letterbox against the golden files of the original, to the pixel."""

import json
import zlib

import numpy as np
import pytest

from yolor_jax.data.letterbox import letterbox, smallest_letterbox


def pattern(seed, height, width):
    """The synthetic image of the golden files (golden/README.md, section 5)."""
    y, x = np.mgrid[:height, :width]
    channels = []
    for c in range(3):
        v = (1 + (7 * seed + 3 * c) % 5) * x + (1 + (3 * seed + 5 * c) % 7) * y
        v = (v + 31 * seed + 77 * c) % 510
        channels.append(np.where(v < 256, v, 510 - v))
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_golden(golden):
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["letterbox"]
    arrays = np.load(golden / "preprocess" / "letterbox.npz")
    compared = 0
    for case in cases:
        if case["auto"] or case["scaleFill"] or "error" in case:
            continue
        size = case["new_shape"]
        size = (size, size) if isinstance(size, int) else tuple(size)
        image = pattern(case["image_seed"], *case["image_hw"])
        canvas, parameters = letterbox(image, size, scaleup=case["scaleup"])
        assert list(canvas.shape) == case["out_shape"]
        expected = [case["ratio"][0], *case["pad"]]
        np.testing.assert_array_equal(parameters, np.float32(expected))
        stored = canvas if case["stored"] == "full" else canvas[::16, ::16]
        np.testing.assert_array_equal(stored, arrays[f"lb{case['id']}"])
        assert zlib.crc32(canvas.tobytes()) == case["crc32"]
        compared += 1
    assert compared >= 30


def test_golden_smallest(golden):
    """The original's canvases of single images: as small as a grid allows."""
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["letterbox"]
    compared = 0
    for case in cases:
        if not case["auto"] or not case["scaleup"] or "error" in case:
            continue
        image = pattern(case["image_seed"], *case["image_hw"])
        canvas, parameters = smallest_letterbox(image, case["new_shape"], grid=case["auto_size"])
        assert list(canvas.shape) == case["out_shape"]
        np.testing.assert_array_equal(parameters, np.float32([case["ratio"][0], *case["pad"]]))
        assert zlib.crc32(canvas.tobytes()) == case["crc32"]
        compared += 1
    assert compared >= 20


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (1, 1)])
def test_extreme_sides_stay_one_pixel(shape):
    image = np.full((*shape, 3), 7, np.uint8)
    canvas, (scale, pad_x, pad_y) = letterbox(image, (320, 320))
    assert (canvas == 7).all(axis=-1).sum() == max(shape[0] * scale, 1) * max(shape[1] * scale, 1)
    assert scale == np.float32(320 / max(shape))
    assert pad_x >= 0 and pad_y >= 0


def test_coordinates_follow_the_pixels():
    image = np.zeros((40, 80, 3), np.uint8)
    image[10:20, 30:60] = 255
    canvas, (scale, pad_x, pad_y) = letterbox(image, (160, 160))
    ys, xs = np.nonzero(canvas[..., 0] > 114)  # half of white; the border is 114
    assert (xs.min(), xs.max() + 1) == (30 * scale + pad_x, 60 * scale + pad_x)
    assert (ys.min(), ys.max() + 1) == (10 * scale + pad_y, 20 * scale + pad_y)


def test_input_is_not_changed_and_rectangular_canvas():
    image = pattern(3, 33, 21)
    before = image.copy()
    canvas, _ = letterbox(image, (33, 50))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(canvas[:, 14:35], image)
    assert (canvas[:, :14] == 114).all() and (canvas[:, 35:] == 114).all()


def test_no_pixels_is_an_error():
    with pytest.raises(ValueError, match="at least one pixel"):
        letterbox(np.zeros((0, 5, 3), np.uint8), (32, 32))
