"""``yolor detect`` from the terminal: what it writes, says and returns."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.grid_detector import CLASS, SCORE, grid_detector
from tests.support.saved_run import META, save_run
from yolor_jax.cli.main import main
from yolor_jax.inference import stream
from yolor_jax.inference.frame import read_picture

NAMES = META["class_names"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, whose moving average is the detector that sees a grid."""
    _, variables = grid_detector()
    folder = tmp_path_factory.mktemp("trained")
    save_run(folder, variables)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch, trained):
    """A folder to work in, with a training run named ``run`` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained)
    return tmp_path


def write(path, height=64, width=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_files_folders_and_globs(here, capsys):
    write(here / "photos" / "a.jpg", 128, 128)
    write(here / "photos" / "b.PNG", 32, 64)
    (here / "photos" / "notes.txt").write_text("no image, and nobody said it was")
    write(here / "more" / "a.jpg")
    write(here / "more" / "c.bmp")
    before = {name: (here / name).read_bytes() for name in tree(here)}
    arguments = ["detect", "photos", "more/*", "more/../photos/a.jpg", "--checkpoint", "run"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    *lines, speed, _, next_ = out.splitlines()
    assert lines == [
        "photos/a.jpg: 64 dog",
        "photos/b.PNG: 32 dog",
        "more/a.jpg: 64 dog",
        "more/c.bmp: 64 dog",
        "4 annotated and their boxes listed in detections/detections.json",
    ]
    assert re.fullmatch(r"[\d.]+ pictures/s, the network at work \d+% of the .*", speed)
    assert next_ == "  yolor demo run"
    [said] = err.splitlines()
    assert "photos: passed over 1 file" in said and "notes.txt" in said
    written = ["a-2.jpg", "a.jpg", "b.jpg", "c.jpg", "detections.json"]
    assert tree(here / "detections") == written

    report = json.loads((here / "detections" / "detections.json").read_text())
    assert report["model"] == "yolor_test" and report["class_names"] == NAMES
    assert [image["annotated"] for image in report["images"]] == [
        "a.jpg",
        "b.jpg",
        "a-2.jpg",
        "c.jpg",
    ]
    first, wide, *_ = report["images"]
    assert (first["file"], first["height"], first["width"]) == ("photos/a.jpg", 128, 128)
    assert {"name": "dog", "label": CLASS, "score": SCORE, "box_xyxy": [16, 16, 32, 32]} in first[
        "detections"
    ]
    assert len(wide["detections"]) == 32 and wide["width"] == 64

    assert main([*arguments, "--score", "0.9", "--no-fold"]) == 0, "again, nothing is overwritten"
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "photos/a.jpg: nothing found"
    assert out[4].endswith("detections/detections-2.json")
    assert len(tree(here / "detections")) == 10
    after = {name: (here / name).read_bytes() for name in before}
    assert after == before


def test_good_images_are_done_where_others_are_bad(here, capsys):
    good = write(here / "good.jpg")
    data = write(here / "half.jpg", 300, 300).read_bytes()
    (here / "half.jpg").write_bytes(data[: len(data) // 2])
    (here / "text.jpg").write_text("no image")
    (here / "nothing.png").write_bytes(b"")
    (here / "empty").mkdir()
    arguments = ["half.jpg", "text.jpg", "nothing.png", "good.jpg", "gone.jpg", "empty", "no*"]
    assert main(["detect", *arguments, "--checkpoint", "run", "--output", "out/deep"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{good.name}: 64 dog\n1 annotated")
    assert tree(here / "out") == ["deep/detections.json", "deep/good.jpg"]
    sentences = err.splitlines()
    assert len(sentences) == 5 and all(s.startswith("yolor detect: left out: ") for s in sentences)
    for name, reason in {
        "gone.jpg": "no such file",
        "empty": "no image in this folder",
        "half.jpg": "truncated",
        "text.jpg": "damaged, or no image",
        "nothing.png": "empty",
    }.items():
        assert any(f"{name}: {reason}" in sentence for sentence in sentences), (name, err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone.jpg"], "gone.jpg: no such file"),
        (["gone/*.jpg"], "gone/*.jpg: no such file"),
        (["run"], "run: no image in this folder"),
        (["text.jpg"], "text.jpg: damaged, or no image of a known format"),
        (["a.jpg", "--checkpoint", "nowhere"], "nowhere: no such file or folder"),
        (["a.jpg", "--checkpoint", "."], "expected the workdir of a training run"),
        (["a.jpg", "--image-size", "650"], "650 is not a multiple of the largest stride 32; use"),
        (["a.jpg", "--output", "a.jpg/below"], "cannot write to a.jpg/below: Not a directory"),
    ],
)
def test_wrong_input_gets_one_sentence(here, capsys, arguments, sentence):
    write(here / "a.jpg")
    (here / "text.jpg").write_text("no image")
    assert main(["detect", "--checkpoint", "run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("yolor detect: ") and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize("option", [["--score", "1.5"], ["--iou", "-1"], ["--iou", "x"], []])
def test_wrong_options(here, capsys, option):
    with pytest.raises(SystemExit) as stop:
        main(["detect", "a.jpg", *option, *(["--checkpoint", "run"] if option else [])])
    assert stop.value.code == 2
    assert (option[0] if option else "--checkpoint") in capsys.readouterr().err


def test_pictures_are_turned_upright(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, :15] = 255  # white on the left
    data = cv2.imencode(".jpg", image)[1].tobytes()
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation 6: turn clockwise
    exif = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "turned.jpg").write_bytes(data[:2] + segment + data[2:])
    upright = read_picture(tmp_path / "turned.jpg").image
    assert upright.shape == (30, 20, 3)
    assert upright[5].mean() > 250 and upright[25].mean() < 5


def test_what_was_found_stays_whatever_ends_the_command(here, capsys, monkeypatch):
    for name in "abcdefghijk":
        write(here / "photos" / f"{name}.jpg")

    def interrupted(path, enough_hw):
        if path.name == "b.jpg":
            os.kill(os.getpid(), signal.SIGINT)
        return read_picture(path, enough_hw)

    monkeypatch.setattr(stream, "read_picture", interrupted)
    arguments = ["detect", "photos", "gone.jpg", "--checkpoint", "run", "--threads", "1"]
    before = signal.getsignal(signal.SIGINT)
    assert main(arguments) == 130
    assert signal.getsignal(signal.SIGINT) is before
    out, err = capsys.readouterr()
    assert "listed in detections/detections.json" in out
    assert out.endswith(f"\n  yolor {shlex.join(arguments)} --resume\n")
    assert err.splitlines() == [
        "yolor detect: left out: gone.jpg: no such file",
        "yolor detect: interrupted",
    ]
    report = json.loads((here / "detections" / "detections.json").read_text())
    found = [image["file"] for image in report["images"]]
    assert 2 <= len(found) < 11, "what was begun is done, and no more"
    assert found == [f"photos/{name}.jpg" for name in "abcdefghijk"][: len(found)]
    assert all(len(image["detections"]) == 64 for image in report["images"])


def test_a_name_that_is_no_text(here, capsys):
    name = b"photos/caf\xe9.jpg".decode(errors="surrogateescape")  # Latin-1
    write(here / "photos" / "a.jpg").rename(here / name)
    write(here / "photos" / "b.jpg")
    assert main(["detect", "photos", "--checkpoint", "run"]) == 0
    assert capsys.readouterr().out.startswith("photos/b.jpg: 64 dog\nphotos/caf")
    report = json.loads((here / "detections" / "detections.json").read_text())
    assert [image["file"] for image in report["images"]] == ["photos/b.jpg", name]
    assert (here / name.replace("photos", "detections")).exists()


def test_of_an_animation_the_first_frame(here, capsys):
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(here / "moving.gif", save_all=True, append_images=frames[1:])
    assert main(["detect", "moving.gif", "--checkpoint", "run"]) == 0
    assert "moving.gif (the first of 3 frames): " in capsys.readouterr().out


def test_the_step_is_chosen(here, capsys):
    write(here / "a.jpg")
    arguments = ["detect", "a.jpg", "--checkpoint", "run", "--step"]
    step = max(int(path.name) for path in (here / "run" / "checkpoints").iterdir())
    assert main([*arguments, str(step)]) == main([*arguments, "latest"]) == 0
    assert main([*arguments, str(step + 1)]) == 2
    assert f"no checkpoint of step {step + 1}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "last"])


def test_red_is_red(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert read_picture(tmp_path / "red.png").image[0, 0].tolist() == [255, 0, 0]


def test_help_is_fast():
    """No library is imported before it is needed."""
    code = (
        "import sys; from yolor_jax.cli.main import main\n"
        "try: main(['detect', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'jax', 'numpy', 'cv2', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("set()"), done.stdout[-200:]
    assert "--checkpoint PATH" in done.stdout and "Find objects in pictures" in done.stdout
