"""Test-time augmentation: what views show of an image, and where their boxes lie on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.grid_detector import grid_boxes, grid_detector
from yolor_jax.detection.decode import Decoded
from yolor_jax.inference.prediction import NmsConfig, make_predict
from yolor_jax.inference.views import PADDING, THREE_VIEWS, View, decode_views

SIZE = 64, 96


def brightest(images):
    """A detector that sees one object: it is where the image is brightest."""
    batch, height, width, _ = images.shape
    weights = jax.nn.softmax(500 * images[..., 0].reshape(batch, -1))
    ys, xs = np.mgrid[:height, :width].reshape(2, -1).astype(np.float32) + 0.5
    x, y = weights @ xs, weights @ ys
    boxes_cxcywh = jnp.stack([x, y, jnp.full_like(x, 8.0), jnp.full_like(x, 4.0)], axis=-1)[:, None]
    return Decoded(boxes_cxcywh, jnp.full((batch, 1), 0.9), jnp.full((batch, 1, 2), 0.5))


def spot(x, y):
    """A smooth bright spot on black."""
    ys, xs = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] + 0.5
    image = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 50)
    return jnp.asarray(np.repeat(image[None, ..., None], 3, axis=-1), jnp.float32)


@pytest.mark.parametrize(("x", "y"), [(20, 16), (80, 40)])
def test_all_views_find_an_object_in_one_place(x, y):
    look = jax.jit(lambda images: decode_views(brightest, images, THREE_VIEWS, stride=32))
    found = look(spot(x, y))
    assert found.boxes_cxcywh.shape == (1, 3, 4) and found.probabilities.shape == (1, 3, 2)
    np.testing.assert_allclose(found.boxes_cxcywh[0, :, :2], [[x, y]] * 3, atol=1.5)
    sizes = np.array([[8, 4]] * 3) / np.array([[1], [0.83], [0.67]])  # a view sees 8 x 4 pixels
    np.testing.assert_allclose(found.boxes_cxcywh[0, :, 2:], sizes, rtol=1e-6)


def test_what_a_view_shows():
    """0.83 of 64 x 96 is 53 x 79, mirrored, on a canvas of 64 x 96; 0.67 of it 42 x 64."""
    shown = []

    def remember(images):
        shown.append(np.asarray(images))
        return brightest(images)

    image = np.random.default_rng(0).random((1, *SIZE, 3), np.float32)
    decode_views(remember, jnp.asarray(image), THREE_VIEWS, stride=32)
    whole, mirrored, small = shown
    np.testing.assert_array_equal(whole, image)
    assert mirrored.shape == (1, 64, 96, 3) and small.shape == (1, 64, 96, 3)
    assert (mirrored[:, 53:] == np.float32(PADDING)).all()
    assert (mirrored[:, :, 79:] == np.float32(PADDING)).all()
    assert (small[:, 42:] == np.float32(PADDING)).all()
    assert (small[:, :, 64:] == np.float32(PADDING)).all()
    expected = bilinear(image[0, :, ::-1], 53, 79)
    np.testing.assert_allclose(mirrored[0, :53, :79], expected, atol=1e-5)
    np.testing.assert_allclose(small[0, :42, :64], bilinear(image[0], 42, 64), atol=1e-5)


def bilinear(image, height, width):
    """Each pixel's centre in the image, the four pixels around it weighed by distance."""

    def places(count, of):
        at = np.clip((np.arange(count) + 0.5) * of / count - 0.5, 0, of - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, of - 1), at - low

    top, bottom, down = places(height, image.shape[0])
    left, right, along = places(width, image.shape[1])
    down, along = down[:, None, None], along[None, :, None]
    upper = image[top][:, left] * (1 - along) + image[top][:, right] * along
    lower = image[bottom][:, left] * (1 - along) + image[bottom][:, right] * along
    return upper * (1 - down) + lower * down


def test_a_network_in_the_mirror():
    module, variables = grid_detector()
    nms = NmsConfig(score_threshold=0.1, max_candidates=100, max_detections=100)
    image = jnp.zeros((1, 64, 64, 3), jnp.uint8)
    arguments = variables, image, jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[64, 64]])
    mirrored = jax.jit(make_predict(module, nms, views=[View(1.0, mirrored=True)]))(*arguments)
    found = mirrored.boxes_xyxy[0][mirrored.mask[0]]
    order = np.lexsort(found.T.round(1))
    expected = grid_boxes(64, 64)  # the grid is the same from behind
    np.testing.assert_allclose(found[order], expected[np.lexsort(expected.T)], atol=0.02)
