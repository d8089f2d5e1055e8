"""``yolor bench detect``: its figures fit together, and wrong input is a sentence."""

import json

import cv2
import numpy as np
import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import save_run
from yolor_jax.cli.main import main


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    save_run(folder / "run", grid_detector()[1])
    (folder / "photos").mkdir()
    for number in range(6):
        image = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{number}.png"), image)
    return folder


def bench(here, *words):
    return main(["bench", "detect", *words, "--checkpoint", str(here / "run"), "--rounds", "1"])


def test_parts_and_the_whole(here, capsys):
    json_file = here / "figures.json"
    assert bench(here, str(here / "photos"), "--batch-size", "4", "--json", str(json_file)) == 0
    out = capsys.readouterr().out
    assert "6 pictures, yolor_test, 64 pixels, batches of 4" in out
    figures = json.loads(json_file.read_text())
    assert set(figures["parts"]) == {"read", "letterbox", "network", "write rows", "draw"}
    assert all(part["ms"] > 0 and f"{part['ms']:.2f}" in out for part in figures["parts"].values())
    assert figures["read_scaled"]["ms"] > 0
    assert (
        set(figures["whole"]) == {"none", "none --scaled-decode", "drawn"}
        and figures["compile_seconds"] > 0
    )
    for whole in figures["whole"].values():
        assert whole["pictures_per_second"] > 0 and 0 < whole["busy"] <= 1


def test_what_cannot_be_measured(here, capsys):
    assert bench(here, str(here / "gone")) == 2
    assert "gone: no such file" in capsys.readouterr().err
    assert bench(here, "0") == 2
    assert "0 is no folder of pictures" in capsys.readouterr().err
    (here / "broken").mkdir()
    (here / "broken" / "a.jpg").write_text("no image")
    assert bench(here, str(here / "broken")) == 2
    assert "a.jpg: damaged" in capsys.readouterr().err
