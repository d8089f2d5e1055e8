"""The same data set in each format gives the same prepared files, to the byte."""

import functools
import json
import pathlib
import re

import numpy as np
import pytest

from tests.support import formats as writers
from yolor_jax.cli.main import main
from yolor_jax.data.encoded import decode
from yolor_jax.preparation import formats
from yolor_jax.preparation.dataset import count_classes, open_dataset
from yolor_jax.preparation.prepare import prepare

IMAGES = 8


@pytest.fixture(scope="module", params=[IMAGES, pytest.param(128, marks=pytest.mark.long)])
def data(request, shared):
    return writers.pictures(shared, request.param)


def prepared(folder, splits=("train", "val"), name="pets"):
    """All files of a prepared data set, without its report."""
    target = folder.parent / "prepared" / name
    assert main(["prepare", str(folder), str(target), "--splits", *splits]) == 0
    return {
        path.name: path.read_bytes()
        for path in target.iterdir()
        if not path.name.startswith("report")
    }


WRITERS = {
    "YOLO": (writers.write_yolo, "YOLO text labels (data.yaml)"),
    "YOLO of Roboflow": (
        functools.partial(writers.write_yolo, by_split=True),
        "YOLO text labels (data.yaml)",
    ),
    "YOLO outlines": (
        functools.partial(writers.write_yolo, segment=True),
        "YOLO text labels (data.yaml)",
    ),
    "VOC": (writers.write_voc, "Pascal VOC (Annotations, JPEGImages, ImageSets/Main)"),
    "VOC of Roboflow": (functools.partial(writers.write_voc, by_split=True), "Pascal VOC (train/"),
    "COCO of Roboflow": (
        writers.write_roboflow,
        "COCO as a tool exports it (train/_annotations.coco.json)",
    ),
    "COCO of CVAT": (writers.write_cvat, "COCO (annotations/instances_train.json)"),
    "COCO without boxes": (writers.write_segmented, "COCO (annotations/instances_train.json)"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_gives_the_files_of_coco(name, data, tmp_path, capsys):
    write, seen = WRITERS[name]
    if name.startswith("YOLO"):
        data = writers.without_crowds(data)
    expected = prepared(writers.write_coco(tmp_path / "coco" / "pets", data))
    capsys.readouterr()
    got = prepared(write(tmp_path / "other" / "pets", data))
    out = capsys.readouterr().out
    assert f"data: {seen}" in out and "; splits: train, val\n" in out
    assert "yolor train --data " in out
    assert "--config.data.train_split=train --config.data.eval_split=val\n" in out
    assert got.keys() == expected.keys()
    assert [file for file in got if not same(got[file], expected[file])] == []
    assert sum(file.startswith("targets") for file in got) == 2


def same(got, expected):
    """Equal to the byte; in JSON an integer may have become a float."""
    if got == expected:
        return True
    try:
        return json.loads(got) == json.loads(expected)
    except (UnicodeDecodeError, json.JSONDecodeError):
        return False


def test_yolo_gives_back_any_pixels(shared, tmp_path):
    """Parts of the image, in all digits, become the pixels that they were made of."""
    data = writers.without_crowds(writers.pictures(shared, IMAGES, rounded=False))
    expected = prepared(writers.write_coco(tmp_path / "coco" / "pets", data))
    assert any(box % 1 for a in data["val"][0]["annotations"] for box in a["bbox"])
    got = prepared(writers.write_yolo(tmp_path / "yolo" / "pets", data))
    assert [file for file in expected if not same(got[file], expected[file])] == []


def test_lists_of_images(data, tmp_path):
    data = writers.without_crowds(data)
    expected = read_all(writers.write_yolo(tmp_path / "folders", data), "train", tmp_path)
    got = read_all(writers.write_yolo(tmp_path / "lists", data, listed=True), "train", tmp_path)
    assert_equal(got, expected)


def test_names_of_another_machine(data, tmp_path):
    expected = read_all(writers.write_coco(tmp_path / "coco", data), "train", tmp_path)
    folder = writers.write_label_studio(tmp_path / "studio", data)
    assert_equal(read_all(folder, "result", tmp_path), expected)
    report = prepare(folder, "result", tmp_path / "prepared", progress=False)
    assert report.counts["file name matched by its end"] == report.images
    assert report.broken == 0


def read_all(folder, split, tmp_path):
    source = open_dataset(folder, split, tmp_path / "prepared", progress=False)
    return source.class_names, source.image_ids, [source[i] for i in range(len(source))]


def assert_equal(got, expected):
    assert got[:2] == expected[:2]
    for one, other in zip(got[2], expected[2], strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_a_reader_did_is_counted(data, tmp_path):
    kinds = {
        writers.write_roboflow: {"super-category left out": 1},
        writers.write_voc: {"classes in sorted order": 1},
        writers.write_segmented: {"box from its segmentation": len(data["val"][0]["annotations"])},
    }
    for write, counts in kinds.items():
        folder = write(tmp_path / write.__name__, data)
        report = prepare(folder, "val", tmp_path / "prepared", progress=False)
        assert {kind: report.counts[kind] for kind in counts} == counts
        assert report.broken == 0
        assert count_classes(folder, "val") == len(data["val"][0]["categories"])


@pytest.mark.parametrize("write", [writers.write_yolo, writers.write_voc, writers.write_roboflow])
def test_another_split_is_named_with_its_flags(data, tmp_path, write):
    folder = write(tmp_path / "pets", data)
    for ask in (functools.partial(open_dataset, prepared_dir=tmp_path / "p"), count_classes):
        with pytest.raises(ValueError, match=r"no split 'val2017'; it has \['train', 'val'\]") as e:
            ask(folder, "val2017")
        assert "--config.data.train_split=train --config.data.eval_split=val " in str(e.value)


def test_the_lines_that_write_coco_from_other_libraries(tmp_path):
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "data.md"
    (lines,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    defined = {}
    exec(lines, defined)
    image = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    rows = [(image, [[5, 6, 20, 30]], [1]), (image, np.zeros((0, 4)), [])]
    defined["write_coco"](rows, ["cat", "dog"], tmp_path / "mine", "train")
    source = open_dataset(tmp_path / "mine", "train", tmp_path / "prepared", progress=False)
    assert source.class_names == ("cat", "dog") and source[0].labels.tolist() == [1]
    np.testing.assert_array_equal(source[0].boxes_xyxy, [[5, 6, 25, 36]])
    np.testing.assert_array_equal(decode(source[1].jpeg), image)


def test_a_folder_of_no_format_gets_the_list(tmp_path):
    with pytest.raises(ValueError, match="is no data set") as error:
        formats.require(tmp_path)
    assert all(f"{f.NAME}: {f.LOOKS_FOR}" in str(error.value) for f in formats.FORMATS)
