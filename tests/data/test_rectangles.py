"""Rectangular batches against the golden files of the original: order, canvases and pixels."""

import cv2
import numpy as np
import pytest

from tests.data.test_letterbox import pattern
from yolor_jax.data.example import Example
from yolor_jax.data.pipeline import Reading, rectangular_batches
from yolor_jax.data.rectangles import fit, plan
from yolor_jax.errors import InputError

SETTINGS = {
    "s32": {"image_size": 96, "grid": 32, "batch_size": 4, "margin": 0.5},
    "s64": {"image_size": 128, "grid": 64, "batch_size": 4, "margin": 0.5},
    "s32_pad0": {"image_size": 96, "grid": 32, "batch_size": 3, "margin": 0.0},
}


@pytest.fixture(scope="module")
def dataset(golden):
    return dict(np.load(golden / "preprocess" / "dataset.npz"))


@pytest.mark.parametrize("name", SETTINGS)
def test_order_and_canvases(dataset, name):
    batches = plan(dataset["sizes_hw"], **SETTINGS[name])
    order = [position for batch in batches for position in batch.positions]
    np.testing.assert_array_equal(order, dataset[f"{name}_order"])
    np.testing.assert_array_equal([b.size for b in batches], dataset[f"{name}_batch_shapes"])
    index = [number for number, batch in enumerate(batches) for _ in batch.positions]
    np.testing.assert_array_equal(index, dataset[f"{name}_batch_index"])


@pytest.mark.parametrize("name", SETTINGS)
def test_pixels_and_coordinates(dataset, name):
    settings = SETTINGS[name]
    compared = 0
    for batch in plan(dataset["sizes_hw"], **settings):
        for position in batch.positions:
            image = pattern(9950 + position, *dataset["sizes_hw"][position])[..., ::-1]
            canvas, parameters = fit(image, batch.size, longest=settings["image_size"])
            expected = dataset[f"{name}_shapes{position}"]  # h0, w0, h / h0, w / w0, pad x, pad y
            np.testing.assert_array_equal(expected[:2], image.shape[:2])
            np.testing.assert_array_equal(parameters, np.float32(expected[[2, 4, 5]]))
            if name == "s32" and f"s32_img{position}" in dataset:
                pixels = np.moveaxis(dataset[f"s32_img{position}"], 0, -1)
                np.testing.assert_array_equal(canvas, pixels)
                compared += 1
    assert compared == (3 if name == "s32" else 0)


class Patterns:
    """The images of the golden files as a split."""

    def __init__(self, sizes_hw):
        self._sizes_hw = sizes_hw

    def __len__(self):
        return len(self._sizes_hw)

    def __getitem__(self, index):
        image = pattern(9950 + index, *self._sizes_hw[index])
        boxes_xyxy = np.array([[0, 0, 10, 10]], np.float32)
        png = cv2.imencode(".png", image)[1].tobytes()
        return Example(png, boxes_xyxy, np.array([0]), np.array([False]), index)

    def name(self, index):
        return f"{index}.png"


@pytest.mark.parametrize("processes", [1, 2])
def test_batches(dataset, processes):
    source = Patterns(dataset["sizes_hw"])
    settings = {"image_size": 96, "grid": 32, "batch_size": 4, "max_targets": 2}
    runs = [
        list(rectangular_batches(source, **settings, reading=Reading(p, processes)))
        for p in range(processes)
    ]
    batches = [np.concatenate([run[step].index for run in runs]) for step in range(3)]
    np.testing.assert_array_equal(np.concatenate(batches)[:10], dataset["s32_order"])
    np.testing.assert_array_equal(batches[2][2:], [-1, -1])
    assert [batch.image.shape[1:3] for batch in runs[0]] == [(96, 128), (128, 128), (128, 96)]
    first = runs[0][0]
    row = first.index.tolist().index(0)
    np.testing.assert_array_equal(first.image[row], np.moveaxis(dataset["s32_img0"], 0, -1))
    np.testing.assert_allclose(first.boxes_xyxy[row, 0], [16, 18, 28, 30])  # scale 1.2


def test_an_empty_split_has_no_batches():
    assert plan(np.zeros((0, 2), int), image_size=96, batch_size=4) == []


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(InputError, match="batch_size=0"):
        plan(np.ones((1, 2), int), image_size=96, batch_size=0)
