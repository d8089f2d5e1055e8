"""From an image to boxes in its own pixels."""

import dataclasses
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.grid_detector import CLASS, SCORE, grid_boxes, grid_detector
from tests.support.leaves import random_leaves
from yolor_jax.data.letterbox import letterbox
from yolor_jax.detection.decode import decode
from yolor_jax.detection.nms import Detections, non_max_suppression
from yolor_jax.errors import InputError
from yolor_jax.inference.prediction import EVALUATION, NmsConfig, make_predict, split_detections
from yolor_jax.inference.predictor import Predictor
from yolor_jax.models.detector import build, find_spec, variable_shapes
from yolor_jax.models.fold import fold
from yolor_jax.models.spec import with_tasks

NMS = NmsConfig(score_threshold=0.1, iou_threshold=0.5, max_candidates=200, max_detections=40)


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def detector():
    module = build("yolor_test", 3)
    return module, random_leaves(variable_shapes(module))


@pytest.fixture(scope="module")
def embedder():
    module = build(with_tasks(find_spec("yolor_test"), ("embed",)), 3)
    return module, random_leaves(variable_shapes(module))


@pytest.fixture(scope="module")
def predictor(detector):
    return Predictor(*detector, image_size=(64, 96), nms=NMS, batch_size=2)


@pytest.fixture(scope="module")
def grid_predictor():
    return Predictor(*grid_detector(), image_size=64, batch_size=2)


@pytest.mark.parametrize(
    ("height", "width", "scale", "pad_x", "pad_y"),
    [
        (64, 64, 1.0, 0, 0),
        (128, 256, 0.25, 0, 16),
        (32, 16, 2.0, 16, 0),
        (100, 100, 0.64, 0, 0),
        (1, 1000, 0.064, 0, 31.5),
    ],
)
def test_boxes_in_original_pixels(grid_predictor, height, width, scale, pad_x, pad_y):
    expected = (grid_boxes(64, 64) - [pad_x, pad_y, pad_x, pad_y]) / scale
    expected = np.clip(expected, 0, [width, height, width, height])
    expected = expected[(expected[:, 2:] - expected[:, :2]).min(axis=-1) > 0.1]  # not the border
    [prediction] = grid_predictor([picture(height, width)])
    order = np.lexsort(prediction.boxes_xyxy.T.round(2))
    np.testing.assert_allclose(
        prediction.boxes_xyxy[order], expected[np.lexsort(expected.T.round(2))], atol=2e-2
    )
    np.testing.assert_allclose(prediction.scores, SCORE, rtol=1e-5)
    assert (prediction.labels == CLASS).all() and prediction.labels.dtype == np.int32


def test_it_is_letterbox_network_decode_and_nms(detector, predictor):
    module, variables = detector
    image = picture(48, 90)
    canvas, (scale, pad_x, pad_y) = letterbox(image, (64, 96))

    @jax.jit
    def detect(variables, pixels):
        logits = module.apply(variables, pixels).detect
        decoded = decode(logits, anchors=module.spec.anchors, strides=module.spec.strides)
        return non_max_suppression(decoded, **dataclasses.asdict(NMS))

    found = jax.device_get(detect(variables, np.float32(canvas[None]) / np.float32(255)))
    pads = np.array([pad_x, pad_y, pad_x, pad_y])
    expected = np.clip((found.boxes_xyxy[0] - pads) / scale, 0, [90, 48, 90, 48])
    kept = found.mask[0] & ((expected[:, 2:] - expected[:, :2]).min(axis=-1) > 0.1)
    assert 0 < kept.sum() < found.mask.sum()

    [prediction] = predictor([image])
    np.testing.assert_allclose(prediction.boxes_xyxy, expected[kept], atol=1e-3)
    np.testing.assert_allclose(prediction.scores, found.scores[0, kept], atol=1e-5)
    np.testing.assert_array_equal(prediction.labels, found.labels[0, kept])


def test_other_classes_take_no_place(detector, predictor):
    """With room for 40 boxes, those of one class are as many as if nothing else were there."""
    image = picture(48, 90)
    [of_all] = predictor([image])
    rare = int(np.argmin(np.bincount(of_all.labels, minlength=3)))
    plenty = dataclasses.replace(NMS, max_candidates=2000, max_detections=2000)
    [of_plenty] = Predictor(*detector, image_size=(64, 96), nms=plenty)([image])
    expected = of_plenty.scores[of_plenty.labels == rare][: NMS.max_detections]
    assert (of_all.labels == rare).sum() < len(expected)
    [found] = Predictor(*detector, image_size=(64, 96), nms=NMS, classes=[rare])([image])
    assert (found.labels == rare).all()
    np.testing.assert_allclose(found.scores, expected[: len(found.scores)], atol=1e-6)
    assert len(found.scores) > (of_all.labels == rare).sum()


def test_any_number_of_images_of_any_size_and_one_compilation(predictor):
    images = [picture(*size, seed) for seed, size in enumerate([(64, 96), (9, 200), (300, 20)] * 2)]
    images = images[:5]
    together = predictor(image for image in images)
    assert len(together) == 5
    for image, prediction in zip(images, together, strict=True):
        [alone] = predictor([image])
        np.testing.assert_array_equal(alone.labels, prediction.labels)
        np.testing.assert_allclose(alone.boxes_xyxy, prediction.boxes_xyxy, atol=1e-3)
        height, width = image.shape[:2]
        assert (prediction.boxes_xyxy >= 0).all()
        assert (prediction.boxes_xyxy <= [width, height, width, height]).all()
        assert (np.diff(prediction.scores) <= 0).all()
    assert predictor([]) == []
    assert predictor._predict._cache_size() == 1, "compiled more than once"


def test_channels_are_told_apart(predictor):
    image = picture(64, 96)
    [straight], [swapped] = predictor([image]), predictor([image[..., ::-1].copy()])
    assert not np.array_equal(straight.scores, swapped.scores)


def test_folded_variables_give_the_same(detector, predictor):
    module, variables = detector
    folded = Predictor(
        build(module.spec, 3, fused=True),
        fold(module.spec, variables),
        image_size=(64, 96),
        nms=NMS,
        batch_size=2,
    )
    images = [picture(80, 70, 1), picture(64, 96, 2)]
    for plain, fused in zip(predictor(images), folded(images), strict=True):
        assert len(plain.scores)
        np.testing.assert_array_equal(plain.labels, fused.labels)
        np.testing.assert_allclose(plain.boxes_xyxy, fused.boxes_xyxy, atol=1e-2)
        np.testing.assert_allclose(plain.scores, fused.scores, atol=1e-4)


def test_split_detections():
    mask = jnp.array([[True, True], [False, False]])
    found = Detections(jnp.ones((2, 2, 4)), jnp.ones((2, 2)), jnp.ones((2, 2), jnp.int32), mask)
    two, none = split_detections(found)
    assert [array.shape for array in two[:3]] == [(2, 4), (2,), (2,)]
    assert none.vectors is None and [array.shape for array in none[:3]] == [(0, 4), (0,), (0,)]


def test_boxes_are_float32_for_a_bfloat16_network(detector):
    module = build("yolor_test", 3, dtype=jnp.bfloat16)
    shapes = [(2, 64, 64, 3), (2, 3), (2, 2)]
    dtypes = [jnp.uint8, jnp.float32, jnp.int32]
    arguments = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    found = jax.eval_shape(make_predict(module, EVALUATION), detector[1], *arguments)
    assert found.boxes_xyxy.shape == (2, 300, 4)
    assert found.boxes_xyxy.dtype == found.scores.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"image_size": 650}, "650 is not a multiple of the largest stride 32; use 640 or 672"),
        ({"image_size": (64, 20)}, "20 is not a multiple of the largest stride 32; use 32"),
        ({"image_size": 0}, "side 0 is not a multiple of the largest stride 32; use 32"),
        ({"image_size": 64, "batch_size": 0}, "must be positive"),
    ],
)
def test_sizes_that_do_not_fit(detector, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Predictor(*detector, **options)


@pytest.mark.parametrize(
    ("image", "error", "sentence"),
    [
        (np.zeros((5, 5), np.uint8), ValueError, r"image 1 has shape \(5, 5\), expected RGB"),
        (np.zeros((5, 5, 4), np.uint8), ValueError, r"of RGBA take image\[..., :3\]"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, r"shape \(0, 5, 3\)"),
        (np.zeros((5, 5, 3), np.float32), TypeError, "image 1 is float32, expected .* uint8"),
        ([[0]], TypeError, "image 1 is list"),
    ],
)
def test_images_that_are_none(predictor, image, error, sentence):
    # A generator, because the shape checking of tests looks into lists.
    with pytest.raises(error, match=sentence):
        predictor(image for image in [picture(9, 9), image])


def test_images_are_taken_as_predictions_are_asked_for(predictor):
    taken = []
    endless = (taken.append(0) or picture(64, 96, seed) for seed in itertools.count())
    predictions = predictor.each(endless)
    assert not taken
    [first] = predictor([picture(64, 96, 0)])
    np.testing.assert_array_equal(next(predictions).scores, first.scores)
    assert len(taken) == 4, "the batch that was asked for, and the next one"
    predictions.close()


def test_threads_may_ask_at_once(predictor):
    images = [picture(64, 96, seed) for seed in range(6)]
    expected = predictor(images)
    with ThreadPoolExecutor(3) as threads:
        for found in threads.map(lambda _: predictor(images), range(3)):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one.scores, other.scores)


def test_the_time_of_the_device_is_told_from_that_of_compilation(detector):
    predictor = Predictor(*detector, image_size=(64, 96), nms=NMS)
    assert predictor.compile_seconds == predictor.busy_seconds == 0
    started = time.perf_counter()
    predictor([picture(64, 96)] * 3)
    wall, compiled = time.perf_counter() - started, predictor.compile_seconds
    assert compiled > 0 and 0 < predictor.busy_seconds < wall - compiled
    predictor([picture(64, 96)])
    assert predictor.compile_seconds == compiled


def test_rectangles_follow_the_images(detector):
    """On a grid of 64 pixels, as the original's, also of a network whose largest stride is 32."""
    predictor = Predictor(*detector, image_size=128, nms=NMS, rect=True, batch_size=2)
    shapes = [(64, 128), (96, 48), (60, 120), (32, 128), (96, 128)]
    images = [picture(*shape, seed) for seed, shape in enumerate(shapes)]
    canvases = [predictor.prepare(image).canvas.shape[:2] for image in images]
    assert canvases == [(64, 128), (128, 64), (64, 128), (64, 128), (128, 128)]
    found = predictor(images)
    assert predictor._predict._cache_size() == 3
    wide = Predictor(*detector, image_size=(64, 128), nms=NMS, batch_size=2)
    rows = [0, 2, 3]
    for row, other in zip(rows, wide([images[row] for row in rows]), strict=True):
        np.testing.assert_allclose(found[row].boxes_xyxy, other.boxes_xyxy, atol=1e-3)
    with pytest.raises(InputError, match="expected one side"):
        Predictor(*detector, image_size=(64, 96), rect=True)


def test_vectors_of_what_is_found(embedder):
    """At the cell of the centre of each box, mean over levels, length 1."""
    module, variables = embedder
    spec = module.spec
    predictor = Predictor(module, variables, image_size=(64, 96), nms=NMS, embed=True, batch_size=2)
    image = picture(48, 90)
    [found] = predictor([image])
    assert len(found.vectors) == len(found.scores) > 5

    canvas, (scale, pad_x, pad_y) = letterbox(image, (64, 96))
    embed = jax.jit(module.apply)(variables, np.float32(canvas[None]) / np.float32(255)).embed
    corners = found.boxes_xyxy.reshape(-1, 2, 2)
    for i, centre in enumerate(corners.mean(axis=1) * scale + [pad_x, pad_y]):
        levels = []
        for level, stride in zip(embed, spec.strides, strict=True):
            x, y = (centre / stride).astype(int)
            vector = np.asarray(level[0, min(y, level.shape[1] - 1), min(x, level.shape[2] - 1)])
            levels.append(vector / np.linalg.norm(vector))
        mean = np.mean(levels, axis=0)
        np.testing.assert_allclose(found.vectors[i], mean / np.linalg.norm(mean), atol=1e-4)


@pytest.mark.long
def test_boxes_and_vectors_are_of_one_run_of_the_network(embedder):
    module, variables = embedder
    predictor = Predictor(module, variables, image_size=64, nms=NMS, embed=True)
    shapes, dtypes = [(1, 64, 64, 3), (1, 3), (1, 2)], [jnp.uint8, jnp.float32, jnp.int32]
    arrays = [jax.ShapeDtypeStruct(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    convolutions = [
        jax.jit(function).lower(variables, *arrays).compile().as_text().count(" convolution(")
        for function in (predictor._predict, make_predict(module, NMS))
    ]
    assert convolutions[0] < 1.5 * convolutions[1], convolutions


def test_a_network_without_embedding_gives_no_vectors(detector):
    with pytest.raises(InputError, match=r"no vectors; .* embed"):
        Predictor(*detector, image_size=64, embed=True)
