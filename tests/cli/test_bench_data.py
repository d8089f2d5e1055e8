"""``yolor bench data``: its baseline is the original's to the pixel, and both run on one core."""

import json
import os
import threading

import cv2
import numpy as np
import pytest

from tests.support.coco_folder import write
from yolor_jax.bench import data as bench
from yolor_jax.bench import host_mosaic
from yolor_jax.cli.bench import data as command
from yolor_jax.cli.main import main
from yolor_jax.preparation.dataset import open_dataset


def pattern(seed, height, width):
    """The golden files' synthetic image."""
    x, y, channel = np.arange(width)[None, :, None], np.arange(height)[:, None, None], np.arange(3)
    slopes = 1 + (7 * seed + 3 * channel) % 5, 1 + (3 * seed + 5 * channel) % 7
    value = (slopes[0] * x + slopes[1] * y + 31 * seed + 77 * channel) % 510
    return np.where(value < 256, value, 510 - value).astype(np.uint8)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_load_is_the_originals(golden, number):
    cases = json.loads((golden / "preprocess" / "cases.json").read_text())["load_image"]
    image = pattern(cases[number]["image_seed"], *cases[number]["image_hw"])
    png = cv2.imencode(".png", image)[1].tobytes()
    expected = np.load(golden / "preprocess" / "load_image.npz")[f"load{number}"]
    np.testing.assert_array_equal(host_mosaic.load(png, cases[number]["img_size"]), expected)


@pytest.mark.parametrize(("name", "centre"), [("m64_a", (70, 50)), ("m64_b", (33, 94))])
def test_paste_is_the_originals(golden, name, centre):
    arrays = np.load(golden / "preprocess" / "mosaic.npz")
    images = [arrays[f"{name}_img{i}"] for i in range(4)]
    canvas = host_mosaic.paste(images, centre, 64)
    np.testing.assert_array_equal(canvas, arrays[f"{name}_out"])


@pytest.mark.parametrize("name", ["p_scratch640", "p_scratch1280"])
def test_warp_is_the_originals(golden, name):
    arrays = np.load(golden / "preprocess" / "perspective.npz")
    scale, moved = arrays[f"{name}_draws"][3], arrays[f"{name}_draws"][6:]
    image = host_mosaic.warp(arrays["image_96"], scale, moved, 48)
    difference = np.abs(image.astype(int) - arrays[f"{name}_out"])
    assert difference.max() <= 2  # versions of OpenCV differ by so much


def test_scale_hsv_is_the_originals(golden):
    arrays = np.load(golden / "preprocess" / "hsv.npz")
    for d, draw in enumerate(arrays["draws"]):
        for g, gain in enumerate(arrays["gains"]):
            image = host_mosaic.scale_hsv(arrays["image"], 1 + draw * gain)
            np.testing.assert_array_equal(image, arrays[f"out_d{d}_g{g}"])


def test_mosaic_shows_what_it_is_given(tmp_path):
    source = open_dataset(write(tmp_path / "pets"), "val", tmp_path / "prepared", progress=False)
    images = [
        host_mosaic.make_mosaic(source, [0, 1, 2, 3], side=64, generator=np.random.default_rng(s))
        for s in (0, 0, 1)
    ]
    assert images[0].shape == (3, 64, 64) and images[0].dtype == np.uint8
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).mean() > 0.5


def test_one_core_holds_threads_that_run_already_and_lets_go():
    before = os.sched_getaffinity(0)
    seen, stop = [], threading.Event()
    ready = threading.Event()

    def wait():
        ready.set()
        stop.wait(10)
        seen.append(os.sched_getaffinity(0))

    for expected in ({min(before)}, before):
        seen.clear(), stop.clear(), ready.clear()
        thread = threading.Thread(target=wait)
        thread.start()
        ready.wait(10)
        with bench._one_core():
            if len(expected) == 1:
                stop.set()
                thread.join()
        stop.set()
        thread.join()
        assert seen == [expected]
    assert os.sched_getaffinity(0) == before


def test_table_and_json(tmp_path, capsys):
    folder, file = write(tmp_path / "pets"), tmp_path / "bench.json"
    settings = ["--image-size", "64", "--batch-size", "8", "--batches", "2", "--rounds", "2"]
    settings += ["--split", "val", "--prepared", str(tmp_path / "prepared"), "--threads", "2"]
    assert main(["bench", "data", str(folder), *settings, "--json", str(file)]) == 0
    out = capsys.readouterr().out
    figures = json.loads(file.read_text())
    for name in ("mosaic", "one_core", "scaled", "all_cores"):
        assert f"{figures[name]['images_per_second']:.1f}" in out
        assert f"{figures[name]['cpu_ms_per_image']:.2f}" in out
    assert f"{figures['ratio']:.2f} times as fast" in out
    assert figures["device_augmentation_ms_per_image"] > 0
    assert figures["settings"]["split"] == "val" and figures["settings"]["threads"] == 2


def test_figures_are_medians_of_rounds():
    speeds = [
        ((40, 10.0), (200, 2.0), (220, 1.5), (300, 2.5)),
        ((10, 12.0), (80, 2.0), (90, 1.0), (500, 3.5)),
        ((50, 9.0), (300, 3.0), (330, 2.0), (400, 4.5)),
    ]
    rounds = [bench.Round(*(bench.Speed(*one) for one in each)) for each in speeds]
    figures = bench._figures(rounds, 8.12345)
    assert figures == {
        "mosaic": {"images_per_second": 40, "cpu_ms_per_image": 10.0},
        "one_core": {"images_per_second": 200, "cpu_ms_per_image": 2.0},
        "scaled": {"images_per_second": 220, "cpu_ms_per_image": 1.5},
        "all_cores": {"images_per_second": 400, "cpu_ms_per_image": 3.5},
        "ratio": 6.0,  # of 5, 8, 6
        "cpu_ratio": 5.0,  # of 5, 6, 3
        "device_augmentation_ms_per_image": 8.123,
    }
    unseen = bench.Speed(9, None)  # workers: their CPU time is not ours
    elsewhere = [
        round_._replace(one_core=unseen, scaled=unseen, all_cores=unseen) for round_ in rounds
    ]
    figures = bench._figures(elsewhere, 8.0)
    assert figures["cpu_ratio"] is None and figures["one_core"]["cpu_ms_per_image"] is None
    assert "-" in command._table(figures, 2, "cpu")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere is no data set"),
        (["shapes", "--rounds", "0"], "--rounds is 0; expected at least 1"),
        (["shapes", "--batch-size", "6"], "--batch-size is 6; expected a multiple of 8"),
        (["PETS", "--split", "val", "--threads", "0"], "got threads=0"),
        (["PETS", "--split", "val", "--image-size", "-3"], "image_size=-3"),
    ],
)
def test_wrong_input(tmp_path, capsys, arguments, sentence):
    folder = str(write(tmp_path / "pets"))
    arguments = [folder if a == "PETS" else a for a in arguments]
    assert main(["bench", "data", *arguments, "--prepared", str(tmp_path / "prepared")]) == 2
    assert sentence in capsys.readouterr().err
