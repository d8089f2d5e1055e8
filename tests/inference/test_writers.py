"""Files of detections: what is in them, at each moment, and how they are gone on with."""

import csv
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from yolor_jax.errors import InputError
from yolor_jax.inference.prediction import Prediction
from yolor_jax.inference.rows import row_of
from yolor_jax.inference.writers import WRITERS, open_writer

NAMES = ["cat", "dog"]
SETTINGS = {"model": "m", "score_threshold": 0.25, "class_names": NAMES}
NOTHING = Prediction(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
TWO = Prediction(
    np.array([[10, 20, 30, 60], [0, 0, 100, 50]], np.float32),
    np.array([0.75, 0.5], np.float32),
    np.array([1, 0], np.int32),
)
ROWS = [
    row_of("d/7.jpg", (50, 100), TWO, NAMES),
    row_of("d/b, é.jpg", (50, 100), NOTHING, NAMES),
    row_of("film.mp4", (50, 100), TWO, NAMES, number=3, seconds=0.12),
]
KEYS = [("d/7.jpg", None), ("d/b, é.jpg", None), ("film.mp4", 3)]
each_format = pytest.mark.parametrize("kind", sorted(WRITERS))


def written(kind, folder, rows=ROWS, **options):
    writer = open_writer(kind, folder, SETTINGS, **options)
    for row in rows:
        writer.add(row)
    return writer


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_json_is_whole_after_each_row(tmp_path):
    writer = open_writer("json", tmp_path, SETTINGS)
    assert not writer.path.exists(), "where nothing is found, nothing is written"
    for number, row in enumerate(ROWS, 1):
        writer.add(row)
        report = json.loads((tmp_path / "detections.json").read_text())
        assert report["images"] == ROWS[:number] and report["model"] == "m"
    assert report["stamp"]["version"]
    assert ROWS[0]["detections"][0] == {
        "name": "dog", "label": 1, "score": 0.75, "box_xyxy": [10.0, 20.0, 30.0, 60.0],
    }  # fmt: skip
    assert ROWS[2]["frame"] == 3 and ROWS[2]["seconds"] == 0.12 and "frame" not in ROWS[0]


def test_json_lines(tmp_path):
    written("jsonl", tmp_path)
    lines = (tmp_path / "detections.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    settings = json.loads((tmp_path / "detections-settings.json").read_text())
    assert settings["score_threshold"] == 0.25 and settings["stamp"]["version"]


def test_csv_has_a_line_for_each_box_and_each_empty_picture(tmp_path):
    written("csv", tmp_path)
    with open(tmp_path / "detections.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["dog", "cat", "", "dog", "cat"]
    assert rows[0] == {
        "file": "d/7.jpg", "frame": "", "seconds": "", "height": "50", "width": "100",
        "name": "dog", "label": "1", "score": "0.75", "x1": "10.0", "y1": "20.0", "x2": "30.0",
        "y2": "60.0",
    }  # fmt: skip
    assert (rows[2]["file"], rows[3]["frame"], rows[3]["seconds"]) == ("d/b, é.jpg", "3", "0.12")


def test_coco_is_what_pycocotools_loads(tmp_path):
    written("coco", tmp_path)
    images = COCO(tmp_path / "coco-images.json")
    results = images.loadRes(str(tmp_path / "coco.json"))
    assert [image["id"] for image in images.dataset["images"]] == [7, 8, 9]
    assert [box["image_id"] for box in results.dataset["annotations"]] == [7, 7, 9, 9]
    first = results.dataset["annotations"][0]
    assert first["bbox"] == [10, 20, 20, 40] and first["score"] == 0.75
    assert images.loadCats(first["category_id"])[0]["name"] == "dog"


def test_coco_ids_are_never_shared(tmp_path):
    rows = [row_of(name, (9, 9), NOTHING, NAMES) for name in ("a/000012.jpg", "b/12.jpg", "c.jpg")]
    written("coco", tmp_path, rows)
    images = json.loads((tmp_path / "coco-images.json").read_text())["images"]
    assert [image["id"] for image in images] == [12, 13, 14]


def test_coco_boxes_of_a_picture_that_was_not_noted_come_once(tmp_path):
    """As after a kill between the two files."""
    written("coco", tmp_path)
    wanted = tree(tmp_path)
    lines = (tmp_path / "coco-images.json").read_text().splitlines(keepends=True)
    (tmp_path / "coco-images.json").write_text("".join(lines[:-2]))  # without film and end
    writer = open_writer("coco", tmp_path, SETTINGS, resume=True)
    assert writer.done == set(KEYS[:2])
    writer.add(ROWS[2])
    assert tree(tmp_path) == wanted


def test_yolo_texts(tmp_path):
    written("yolo", tmp_path, [*ROWS, row_of("e/7.jpg", (50, 100), NOTHING, NAMES)])
    text = (tmp_path / "labels" / "7.txt").read_text()
    assert text == (
        "1 0.200000 0.800000 0.200000 0.800000 0.75\n0 0.500000 0.500000 1.000000 1.000000 0.5\n"
    )
    assert (tmp_path / "labels" / "b, é.txt").read_text() == ""
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [line["labels"] for line in lines] == [
        "labels/7.txt", "labels/b, é.txt", "labels/film-3.txt", "labels/7-2.txt",
    ]  # fmt: skip


@each_format
def test_nothing_is_overwritten(tmp_path, kind):
    first = written(kind, tmp_path)
    before = tree(tmp_path)
    second = written(kind, tmp_path)
    assert first.path != second.path and "-2" in second.path.name
    assert before.items() <= tree(tmp_path).items()


@each_format
@pytest.mark.parametrize("cut", [0, 9])
def test_a_file_is_gone_on_with(tmp_path, kind, cut):
    """Also one whose last row was cut off: that one is done again."""
    writer = written(kind, tmp_path / "a", ROWS[:2]) if (tmp_path / "a").mkdir() is None else None
    (tmp_path / "b").mkdir()
    written(kind, tmp_path / "b")
    listed = writer.path if kind != "coco" else writer.path.with_name("coco-images.json")
    if cut:
        listed.write_bytes(listed.read_bytes()[:-cut])
    again = open_writer(kind, tmp_path / "a", SETTINGS, resume=True)
    assert again.path == writer.path
    assert again.done == set(KEYS[: 1 if cut else 2])
    if cut and kind in ("yolo", "coco"):
        return  # the text is there already, and gets another name; ids as well
    for row in ROWS[len(again.done) :]:
        again.add(row)
    a, b = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == b[name] or b"stamp" in a[name]
    if kind == "json":
        images = [json.loads(t["detections.json"])["images"] for t in (a, b)]
        assert images[0] == images[1]


@each_format
def test_other_settings_are_refused(tmp_path, kind):
    written(kind, tmp_path)
    before = tree(tmp_path)
    sentence = "was made with score_threshold 0.25 and not 0.5; leave out --resume"
    with pytest.raises(InputError, match=sentence):
        open_writer(kind, tmp_path, SETTINGS | {"score_threshold": 0.5}, resume=True)
    assert tree(tmp_path) == before
    assert open_writer(kind, tmp_path, SETTINGS, resume=True).done == set(KEYS)


def test_a_file_of_somebody_else_is_not_gone_on_with(tmp_path):
    (tmp_path / "detections.json").write_text('[{"image_id": 1}]')
    with pytest.raises(InputError, match="its settings cannot be read"):
        open_writer("json", tmp_path, SETTINGS, resume=True)
    assert open_writer("csv", tmp_path, SETTINGS, resume=True).done == set()


def test_vectors_are_in_the_rows_that_have_room():
    vectors = np.array([[0.6, 0.8], [1, 0]], np.float32)
    row = row_of("a.jpg", (50, 100), TWO._replace(vectors=vectors), NAMES)
    assert [box["vector"] for box in row["detections"]] == [[0.6, 0.8], [1.0, 0.0]]
    assert "vector" not in ROWS[0]["detections"][0]
