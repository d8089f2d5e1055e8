"""What `yolor detect` finds, in a bucket: the same files, taken names, going on, and failures."""

import json
import pathlib

import cv2
import numpy as np
import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import META
from yolor_jax import bucket
from yolor_jax.cli.main import main
from yolor_jax.inference import carried
from yolor_jax.paths import user_path
from yolor_jax.weights.store import save_variables


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "grid.safetensors"
    save_variables(file, grid_detector()[1], {**META, "fused": False})
    return file


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.jpg"), np.full((64, 64, 3), 99, np.uint8))
    return folder


def rows(text: str) -> list:
    return json.loads(text)["images"]


@pytest.mark.long
def test_the_bucket_has_what_a_disk_would_have(place, photos, weights, tmp_path, capsys):
    detect = ["detect", str(photos), "--checkpoint", str(weights)]
    assert main([*detect, "--output", "here"]) == 0
    assert main([*detect, "--output", str(place)]) == 0
    assert f"listed in {place}/detections.json" in capsys.readouterr().out
    there = bucket.objects(place)
    assert sorted(there) == ["a.jpg", "b.jpg", "detections.json"]
    assert rows((place / "detections.json").read_text()) == rows(
        pathlib.Path("here/detections.json").read_text()
    )
    assert (place / "a.jpg").read_bytes() == pathlib.Path("here/a.jpg").read_bytes()

    cv2.imwrite(str(photos / "c.jpg"), np.zeros((64, 64, 3), np.uint8))
    assert main([*detect, "--output", str(place), "--resume"]) == 0
    now = bucket.objects(place)
    assert sorted(now) == ["a.jpg", "b.jpg", "c.jpg", "detections.json"]
    assert now["a.jpg"] == there["a.jpg"]  # not empty, and not another
    assert len(rows((place / "detections.json").read_text())) == 3

    assert main([*detect, "--output", str(place)]) == 0
    assert {"a-2.jpg", "c-2.jpg", "detections-2.json"} <= set(bucket.objects(place))
    assert not any((tmp_path / "temporary").iterdir()) and not pathlib.Path("gs:").exists()


@pytest.mark.long
def test_texts_and_crops_have_folders_there(place, photos, weights):
    detect = ["detect", str(photos), "--checkpoint", str(weights), "--max", "1"]
    assert main([*detect, "--output", str(place), "--format", "yolo", "--pictures", "crops"]) == 0
    names = set(bucket.objects(place))
    assert {"labels.jsonl", "labels-settings.json", "labels/a.txt", "labels/b.txt"} < names
    assert len(names) == 6 and (place / "labels/a.txt").read_text()


def test_rows_go_as_they_come_and_a_picture_goes_before_its_row(place, tmp_path, monkeypatch):
    monkeypatch.setattr(carried, "SECONDS", 0.0)
    put, order = bucket.put, []
    monkeypatch.setattr(bucket, "put", lambda file, to: (order.append(to.name), put(file, to)))
    with carried.output_folder(place, resume=False) as output:
        (output.folder / "rows.jsonl").write_text("{}\n")
        (output.folder / "z.jpg").write_bytes(b"picture")
        (output.folder / ".half.jpg").write_bytes(b"pict")
        (output.folder / "film.mp4").write_bytes(b"half a fi")
        output.carry()
        assert order == ["z.jpg", "rows.jsonl"]
        assert (output.folder / "z.jpg").stat().st_size == 0 and output.folder.exists()
        output.carry()
        assert len(order) == 2  # nothing is new
        (output.folder / "rows.jsonl").write_text("{}\n{}\n")
    assert order[2:] == ["film.mp4", "rows.jsonl"]
    assert (place / "rows.jsonl").read_text() == "{}\n{}\n"
    assert (place / "z.jpg").read_bytes() == b"picture"


def test_a_bucket_that_fails_at_the_end_leaves_all_on_the_disk(place, monkeypatch):
    def fail(file, to):
        raise OSError(f"{to} cannot be used")

    with pytest.raises(OSError, match="cannot be used; what was found lies in ") as error:
        with carried.output_folder(place, resume=False) as output:
            (output.folder / "rows.jsonl").write_text("{}\n")
            monkeypatch.setattr(bucket, "put", fail)
    assert str(error.value).endswith(str(output.folder))
    assert (output.folder / "rows.jsonl").read_text() == "{}\n"


def test_a_bucket_that_is_not_there_is_a_sentence_before_the_work(photos, weights, capsys):
    detect = ["detect", str(photos), "--checkpoint", str(weights)]
    assert main([*detect, "--output", "gs://no-such-bucket/found"]) == 2
    assert "no-such-bucket" in capsys.readouterr().err
    assert user_path("photos").is_dir() and not pathlib.Path("gs:").exists()
