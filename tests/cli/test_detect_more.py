"""``yolor detect``: films, formats, crops, shares, and going on."""

import json
import pathlib

import cv2
import numpy as np
import pytest

from tests.support.films import write_film
from tests.support.grid_detector import grid_detector
from tests.support.saved_run import save_run
from yolor_jax.cli.detection_network import batch_size
from yolor_jax.cli.main import main
from yolor_jax.inference.film import Film
from yolor_jax.inference.sources import Pictures, Sources, find


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, whose moving average is the detector that sees a grid."""
    folder = tmp_path_factory.mktemp("trained")
    save_run(folder, grid_detector()[1])
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, trained):
    """A folder to work in, with a training run named ``run`` in it, and four photos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained)
    (tmp_path / "photos" / "in").mkdir(parents=True)
    for name in ("a", "b", "c", "in/a"):
        image = np.random.default_rng(len(name)).integers(0, 256, (64, 64, 3), np.uint8)
        assert cv2.imwrite(f"photos/{name}.png", image)
    return tmp_path


def detect(*words):
    return main(["detect", *words, "--checkpoint", "run", "--output", "out"])


def rows(path="out/detections.jsonl"):
    with open(path) as file:
        return [json.loads(line) for line in file]


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_film_comes_back_with_boxes_and_times(here, capsys):
    write_film("film.avi", 11, rate=10)
    assert detect("film.avi", "photos/a.png", "--format", "jsonl", "--threads", "4") == 0
    out = capsys.readouterr().out
    assert out.startswith("film.avi: 11 frames, 1.0 s: 704 dog\nphotos/a.png: 64 dog\n12 annotated")
    *film, picture = rows()
    assert [row["frame"] for row in film] == list(range(11)) and "frame" not in picture
    assert [row["seconds"] for row in film] == [i / 10 for i in range(11)]
    assert {row["annotated"] for row in film} == {"film.mp4"} and len(film[4]["detections"]) == 64
    drawn = list(Film("out/film.mp4").frames())
    assert len(drawn) == 11 and drawn[0].rate == 10 and drawn[0].image.shape == (640, 640, 3)
    assert drawn[0].image.std() > 20, "a grey frame, with boxes"
    shades = [np.median(frame.image) for frame in drawn]
    np.testing.assert_allclose(shades, 10 * np.arange(11), atol=4)


def test_films_and_cameras_that_cannot_be_read(here, capsys):
    write_film("whole.avi", 20)
    with open("whole.avi", "rb") as file:
        data = file.read()
    with open("half.avi", "wb") as file:
        file.write(data[: len(data) * 3 // 4])
    assert detect("half.avi", "photos/a.png", "97", "--pictures", "none") == 1
    out, err = capsys.readouterr()
    assert "half.avi: 10 frames" in out and "photos/a.png: 64 dog" in out
    ends, camera = err.splitlines()
    assert ends == "yolor detect: left out: half.avi: it ends in the middle, after 10 of 20 frames"
    assert "left out: camera 97: there is no such camera" in camera
    for alone in ("97", "rtsp://127.0.0.1:9/x"):
        assert main(["detect", alone, "--checkpoint", "run", "--output", "other"]) == 1
        assert "yolor detect: left out: " in capsys.readouterr().err
    assert tree(here / "other") == []


def test_objects_are_cut_out(here):
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 255
    cv2.imwrite("photos/wide.png", image)
    assert detect("photos/wide.png", "--pictures", "crops") == 0
    [row] = json.loads((here / "out" / "detections.json").read_text())["images"]
    assert len(row["detections"]) == 32 and "annotated" not in row
    for number, found in enumerate(row["detections"]):
        assert found["crop"] == f"crops/dog/wide-{number}.jpg"
        left, top, right, bottom = found["box_xyxy"]
        crop = cv2.imread(str(here / "out" / found["crop"]))
        assert crop.shape[:2] == (round(bottom - top), round(right - left))
        assert abs(crop.mean() - 255 * (left >= 64)) < 2
    assert len(tree(here / "out")) == 33


def test_going_on_passes_over_what_is_listed(here, capsys):
    words = ["photos", "--pictures", "none", "--format", "jsonl"]
    assert detect("photos/b.png", *words[1:]) == 0
    assert detect(*words, "--resume", "--batch-size", "2") == 0
    assert [row["file"] for row in rows()] == ["photos/b.png", "photos/a.png", "photos/c.png"]
    capsys.readouterr()
    assert detect(*words, "--resume") == 0
    out, err = capsys.readouterr()
    assert out.startswith("0 done, their boxes listed in out/detections.jsonl\n") and err == ""
    assert detect(*words, "--resume", "--score", "0.5") == 2
    assert "made with score_threshold 0.25 and not 0.5" in capsys.readouterr().err
    assert len(rows()) == 3


def test_a_film_is_gone_on_with(here):
    write_film("film.avi", 6)
    words = ["film.avi", "--pictures", "none", "--format", "jsonl"]
    assert detect(*words) == 0
    whole = (here / "out" / "detections.jsonl").read_text()
    (here / "out" / "detections.jsonl").write_text("".join(whole.splitlines(True)[:4]))
    assert detect(*words, "--resume") == 0
    assert (here / "out" / "detections.jsonl").read_text() == whole


def test_shares_make_up_the_whole(here, capsys):
    words = ["photos", "--recursive", "--pictures", "none", "--format", "jsonl"]
    assert [detect(*words, "--shard", f"{i}/5") for i in (1, 2, 5)] == [0, 0, 0]
    shares = [rows(f"out/shard-{i}-of-5/detections.jsonl") for i in (1, 2)]
    assert [[row["file"] for row in share] for share in shares] == [
        ["photos/a.png"],
        ["photos/b.png"],
    ]
    assert tree(here / "out" / "shard-5-of-5") == [], "there are four pictures"
    for wrong in ("0/3", "4/3", "3", "a/b"):
        with pytest.raises(SystemExit):
            detect(*words, "--shard", wrong)


@pytest.mark.parametrize("kind", ["coco", "csv", "yolo"])
def test_other_formats(here, kind):
    assert detect("photos", "--format", kind, "--pictures", "none") == 0
    name = {"coco": "coco.json", "csv": "detections.csv", "yolo": "labels/b.txt"}[kind]
    assert (here / "out" / name).stat().st_size > 1000


def test_options_of_the_network(here, capsys):
    for words, found in {
        ("--classes", "cat", "2"): "nothing found",
        ("--max", "5", "--classes", "dog", "--class-agnostic", "--dtype", "bfloat16"): "5 dog",
    }.items():
        assert detect("photos/a.png", *words, "--pictures", "none") == 0
        assert capsys.readouterr().out.startswith(f"photos/a.png: {found}\n"), words
    assert detect("photos/a.png", "--classes", "cow") == 2
    assert "there is no class 'cow'; expected some of cat, dog, sheep" in capsys.readouterr().err
    assert detect("photos/a.png", "--embed", "--format", "csv") == 2
    assert "--format csv has no place for vectors" in capsys.readouterr().err
    assert detect("photos/a.png", "--embed") == 2
    assert "gives objects no vectors; train one with the task embed" in capsys.readouterr().err


def test_the_batch_size_changes_nothing(here):
    for size in ("1", "3"):
        words = ["photos", "--recursive", "--batch-size", size]
        assert main(["detect", *words, "--checkpoint", "run", "--output", size]) == 0
    assert tree(here / "1") == tree(here / "3")
    first, second = (json.loads((here / n / "detections.json").read_text()) for n in "13")
    assert first["images"] == second["images"]


def test_how_many_go_together_hangs_on_pixels_pictures_and_cameras(here):
    assert batch_size(find(["photos"]), 640) < 8  # no more than there are
    many = Sources([Pictures([pathlib.Path("a.png")] * 100)], [], [])
    assert [batch_size(many, pixels) for pixels in (128, 256, 288, 640)] == [32, 32, 8, 8]
    assert batch_size(Sources([Film("a.mp4")], [], []), 640) == 8
    assert batch_size(Sources([Film(0)], [], []), 128) == 1


def test_scaled_decode_gives_boxes_of_the_whole_picture(here, capsys):
    image = np.random.default_rng(0).integers(0, 256, (256, 512, 3), np.uint8)
    cv2.imwrite("photos/large.jpg", image)
    words = ["photos", "--format", "jsonl", "--pictures", "none"]
    assert detect(*words, "--scaled-decode") == detect(*words) == 0
    scaled, whole = rows(), rows("out/detections-2.jsonl")
    assert scaled == whole and (scaled[-1]["height"], scaled[-1]["width"]) == (256, 512)
    capsys.readouterr()
    assert detect(*words, "--scaled-decode", "--resume") == 2
    assert "was made with scaled_decode False and not True" in capsys.readouterr().err
    assert detect("photos", "--scaled-decode") == 2
    assert "--scaled-decode leaves no pixels to draw on" in capsys.readouterr().err
