"""Images of every format come out as the same pixels, whatever reads them."""

import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.coco_folder import jpeg
from yolor_jax.data import encoded
from yolor_jax.errors import InputError

LOSSLESS = ("PNG", "WEBP", "TIFF")
FORMATS = (*LOSSLESS, "JPEG", "BMP", "GIF", "AVIF")


def picture(height=12, width=20):
    """Red in the upper left corner, and no symmetry."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 3, : width // 4] = (255, 10, 20)
    image[height // 2 :, width // 2 :] = (0, 90, 200)
    return image


def encode(image, format_, orientation=None, **more):
    stream = io.BytesIO()
    if format_ == "WEBP":
        more["lossless"] = True
    if orientation is not None:
        more["exif"] = Image.Exif()
        more["exif"][0x0112] = orientation
    Image.fromarray(image).save(stream, format_, **more)
    return stream.getvalue()


@pytest.mark.parametrize("format_", LOSSLESS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_has_one_rule(tmp_path, format_, orientation):
    data = encode(picture(), format_, orientation)
    expected = encoded.turned(picture(), orientation)
    np.testing.assert_array_equal(encoded.upright(data), expected)
    np.testing.assert_array_equal(encoded.decode(encoded.apply_orientation(data)), expected)
    (tmp_path / "a").write_bytes(data)
    np.testing.assert_array_equal(encoded.read_image(tmp_path / "a"), expected)
    header = encoded.read_header(data)
    shape = encoded.decode(data).shape[:2]
    assert shape == header[:2]  # boxes refer to what is decoded
    upright = shape[::-1] if header.orientation >= 5 else shape
    assert upright == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_follows_pillow(orientation):
    from PIL import ImageOps

    image = Image.open(io.BytesIO(encode(picture(), "PNG", orientation)))
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(encoded.turned(picture(), orientation), expected)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_follows_the_end_does_not_matter(format_):
    data = encode(picture(), format_)
    image = encoded.decode(data)
    assert abs(image.astype(int) - picture()).mean() < 12
    np.testing.assert_array_equal(encoded.decode(data + b"\0" * 200), image)
    assert encoded.check(data + b"\0" * 200) == (12, 20, 1, 1)


@pytest.mark.parametrize("format_", FORMATS)
def test_half_an_image_is_none(format_):
    data = encode(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8), format_)
    for read in (encoded.check, encoded.decode):
        with pytest.raises(InputError, match=r"truncated|damaged"):
            read(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\0" * 99]
)
def test_what_is_no_image_is_named(data):
    with pytest.raises(InputError, match=r"truncated|damaged|empty"):
        encoded.decode(data)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "RGB"])
def test_channels_become_three(mode):
    image = np.asarray(Image.fromarray(picture()).convert(mode).convert("RGB"))
    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, "PNG")
    np.testing.assert_array_equal(encoded.decode(stream.getvalue()), image)


def test_more_bits_are_scaled_by_what_the_file_says():
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    shown = np.repeat((ramp >> 4).astype(np.uint8)[..., None], 3, axis=2)
    for format_ in ("PNG", "TIFF"):
        np.testing.assert_array_equal(encoded.decode(encode(ramp << 4, format_)), shown)
    twelve = encode(ramp, "TIFF", tiffinfo={281: 4095})  # MaxSampleValue
    np.testing.assert_array_equal(encoded.decode(twelve), shown)
    color = np.repeat((ramp << 4)[..., None], 3, axis=2)
    for ending in (".png", ".tiff"):
        data = cv2.imencode(ending, color)[1].tobytes()
        np.testing.assert_array_equal(encoded.decode(data), shown)


@pytest.mark.parametrize(("dtype", "kind"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
def test_pixels_without_a_range_are_refused(dtype, kind):
    data = encode(np.ones((8, 8), dtype), "TIFF")
    for read in (encoded.check, encoded.decode):
        with pytest.raises(InputError, match=kind):
            read(data)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(format_):
    frames = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in (0, 99, 200)]
    stream = io.BytesIO()
    frames[0].save(stream, format_, save_all=True, append_images=frames[1:])
    assert encoded.read_header(stream.getvalue()).frames == 3
    assert encoded.decode(stream.getvalue()).max() == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_too_many_pixels_are_refused(monkeypatch, format_):
    data = encode(picture(), format_)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 239)
    with warnings.catch_warnings(), pytest.raises(InputError, match=r"20 x 12 pixels; at most 239"):
        warnings.simplefilter("ignore")
        encoded.check(data)


def test_a_jpeg_of_twelve_bits_is_named():
    data = bytearray(jpeg(16, 16))
    position = data.find(b"\xff\xc0")
    data[position + 4] = 12
    with pytest.raises(InputError, match="JPEG of 12 bits"):
        encoded.decode(bytes(data))
