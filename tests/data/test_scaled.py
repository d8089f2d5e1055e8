"""Scaled decode: the pixels are means of those of the whole, and every one lies where it should."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.coco_folder import jpeg, with_orientation
from yolor_jax.data import encoded
from yolor_jax.data.example import Example
from yolor_jax.data.letterbox import letterbox
from yolor_jax.data.pipeline import eval_batches, train_batches
from yolor_jax.data.scaled import FACTORS, decode_scaled, factor_for, upright_scaled
from yolor_jax.errors import InputError


def smooth(height, width):
    """A picture without symmetry or detail: noise of a few pixels, enlarged."""
    coarse = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def by_pillow(image, mode="RGB", **more):
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, "JPEG", quality=95, **more)
    return stream.getvalue()


def means(image, factor):
    """Of factor x factor pixels; what is left over at the end is left out."""
    height, width = (side // factor for side in image.shape[:2])
    whole = image[: height * factor, : width * factor].astype(np.float64)
    return whole.reshape(height, factor, width, factor, 3).mean(axis=(1, 3))


def assert_alike(image, expected):
    assert image.shape == expected.shape and image.dtype == np.uint8
    difference = np.abs(image - expected)
    assert difference.mean() < 1.5 and difference.max() < 12, (difference.mean(), difference.max())


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(96, 160), (101, 167), (97, 168), (103, 161)])
def test_a_pixel_is_the_mean_of_those_whose_place_it_takes(size, factor):
    data = by_pillow(smooth(*size))
    picture = upright_scaled(data, (size[0] // factor, size[1] // factor))
    assert (picture.factor, picture.size_hw, picture.frames) == (factor, size, 1)
    assert_alike(picture.image, means(encoded.upright(data), factor))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_a_camera_has_turned(orientation):
    """Of a turned picture whose sides leave something over, the pixels would be moved by it."""
    data = with_orientation(by_pillow(smooth(96, 160)), orientation)
    whole = encoded.upright(data)
    picture = upright_scaled(data, (40, 40))
    assert (picture.factor, picture.size_hw) == (4, whole.shape[:2])
    assert_alike(picture.image, means(whole, 4))
    stored = decode_scaled(data, (40, 40))
    assert (stored.factor, stored.size_hw) == (4, (96, 160))
    assert_alike(stored.image, means(encoded.decode(data), 4))

    data = with_orientation(by_pillow(smooth(98, 160)), orientation)
    whole = encoded.upright(data)
    picture = upright_scaled(data, (40, 40))
    assert (picture.factor, picture.size_hw) == (4 if orientation == 1 else 2, whole.shape[:2])
    assert_alike(picture.image, means(whole, picture.factor))


@pytest.mark.parametrize(
    ("mode", "more"),
    [("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 0})],
    ids=str,
)
def test_every_kind_of_jpeg(mode, more):
    data = by_pillow(smooth(96, 160), mode, **more)
    picture = upright_scaled(data, (32, 40))
    assert picture.factor == 4
    assert_alike(picture.image, means(encoded.upright(data), 4))


@pytest.mark.parametrize("format_", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_any_other_image_is_decoded_whole(format_):
    frames = [Image.fromarray(smooth(96, 160)), Image.fromarray(smooth(96, 160)[::-1])]
    more = {} if format_ == "BMP" else {"save_all": True, "append_images": frames[1:]}
    stream = io.BytesIO()
    frames[0].save(stream, format_, **more)
    data = stream.getvalue()
    for decode in (upright_scaled, decode_scaled):
        picture = decode(data, (10, 10))
        assert (picture.factor, picture.size_hw) == (1, (96, 160))
        np.testing.assert_array_equal(picture.image, encoded.upright(data))
    assert upright_scaled(data, (10, 10)).frames == encoded.read_header(data).frames


def test_all_pixels_are_to_be_had():
    data = with_orientation(jpeg(96, 160), 6)
    np.testing.assert_array_equal(upright_scaled(data, None).image, encoded.upright(data))
    np.testing.assert_array_equal(decode_scaled(data, None).image, encoded.decode(data))
    assert upright_scaled(data, None).size_hw == (160, 96)
    assert upright_scaled(data, (160, 96)).factor == 1


def test_never_smaller_than_it_is_shown_and_no_larger_than_need_be():
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(3000):
        stored = rng.integers(1, 1500, 2).tolist()
        orientation = int(rng.integers(1, 9))
        header = encoded.Header(*stored, orientation)
        canvas = tuple(rng.integers(1, 400, 2).tolist())
        factor = factor_for(header, canvas)
        found.add(factor)

        def enlarges(factor, canvas=canvas, header=header):
            """Whether a letterbox would enlarge the picture again."""
            height, width = (side // factor for side in header.upright_hw)
            return not (height and width) or min(canvas[0] / height, canvas[1] / width) > 1

        if factor > 1:
            assert not enlarges(factor), (header, canvas)
            assert orientation == 1 or not any(side % factor for side in stored)
        divides = [n for n in FACTORS if orientation == 1 or not any(s % n for s in stored)]
        for larger in (n for n in divides if n > factor):
            height, width = header.upright_hw
            exact = min(canvas[0] / height, canvas[1] / width) * larger
            assert exact > 1 or min(stored) < larger, (header, canvas, factor, larger)
    assert found == {1, 2, 4, 8}


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [(480, 640), (483, 643), (486, 642)])
def test_a_spot_is_found_where_it_is(size, orientation):
    """Its centre on the canvas, brought back by the letterbox, to a pixel of the picture."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    at_x, at_y = size[1] - 40.0, size[0] - 31.0
    spot = 255 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 9.0**2))
    grey = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    data = with_orientation(by_pillow(grey), orientation)
    picture = upright_scaled(data, (160, 160))
    assert picture.factor == {480: 4, 483: 1, 486: 2}[size[0]] if orientation != 1 else 4
    canvas, of_image = letterbox(picture.image, (160, 160))
    scale, *pads = picture.letterbox_of_whole(of_image)
    light = np.where(canvas[..., 0] == 114, 0, canvas[..., 0]).astype(np.float64)
    light[light < 8] = 0
    rows, columns = np.mgrid[:160, :160] + 0.5
    centre = (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()
    # The canvas is painted on whole pixels, half a one away from the padding that is said.
    centre = (np.array(centre) - np.round(np.array(pads) - 0.1)) / scale
    expected = {
        1: (at_x, at_y),
        3: (size[1] - at_x, size[0] - at_y),
        6: (size[0] - at_y, at_x),
    }[orientation]
    np.testing.assert_allclose(centre, expected, atol=1.0)


class Photos:
    """A split of encoded images, with the box of each."""

    def __init__(self, images, boxes):
        self.images, self.boxes = images, np.float32(boxes)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        none = np.zeros(1, np.int32)
        return Example(self.images[index], self.boxes[index][None], none, none == 1, int(index))

    def name(self, index):
        return f"{index}.jpg"


def test_batches_of_a_data_set():
    """Boxes and letterbox are those of whole images where the sides leave nothing over."""
    data = [with_orientation(by_pillow(smooth(96, 160)), 6), by_pillow(smooth(101, 167))]
    source = Photos(data, [[16, 8, 80, 72], [100, 50, 167, 101]])
    settings = {"image_size": 40, "batch_size": 2, "max_targets": 2}
    [whole] = eval_batches(source, **settings)
    [scaled] = eval_batches(source, **settings, scaled_decode=True)
    np.testing.assert_array_equal(scaled.original_size, [[96, 160], [101, 167]])
    np.testing.assert_array_equal(scaled.original_size, whole.original_size)
    np.testing.assert_array_equal(scaled.letterbox[0], whole.letterbox[0])
    np.testing.assert_array_equal(scaled.boxes_xyxy[0], whole.boxes_xyxy[0])
    difference = np.abs(scaled.image[0].astype(int) - whole.image[0])
    assert 0 < difference.mean() < 3, "means and not samples"
    # 100 x 164 of the second one's pixels are shown, at 40 of 41, which is 40 / 164.
    scale = 40 / 164
    np.testing.assert_allclose(scaled.letterbox[1], [scale, 0, 8], atol=1e-6)
    expected = np.float32([100, 50, 167, 101]) * scale + [0, 8, 0, 8]
    np.testing.assert_allclose(scaled.boxes_xyxy[1, 0], expected, atol=1e-4)
    drawn = train_batches(source, **settings, seed=0, scaled_decode=True)
    batch = next(drawn)
    drawn.close()
    np.testing.assert_array_equal(batch.image[batch.index.argsort()], scaled.image)


def test_half_an_image_is_none():
    data = jpeg(96, 160)
    for decode in (upright_scaled, decode_scaled):
        with pytest.raises(InputError, match=r"truncated|damaged"):
            decode(data[: len(data) // 2], (20, 20))
        with pytest.raises(InputError, match="empty"):
            decode(b"", (20, 20))
