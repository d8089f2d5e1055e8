"""Identities of objects: from annotations through preparation and batches, and what is wrong."""

import json

import cv2
import numpy as np
import pytest

from yolor_jax.data.collate import BatchLoader
from yolor_jax.data.sources import open_source
from yolor_jax.data.subset import Subset
from yolor_jax.errors import InputError
from yolor_jax.preparation import annotations, prepare
from yolor_jax.preparation.identities import numbered
from yolor_jax.preparation.report import Report

BOX = [2.0, 3.0, 20.0, 10.0]


def entry(number, image=1, category=1, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": BOX, **more}


def write(folder, entries, images=3):
    (folder / "annotations").mkdir(parents=True)
    (folder / "train").mkdir()
    jpeg = cv2.imencode(".png", np.full((32, 48, 3), 90, np.uint8))[1].tobytes()
    named = [
        {"id": i + 1, "file_name": f"{i}.png", "height": 32, "width": 48} for i in range(images)
    ]
    for image in named:
        (folder / "train" / image["file_name"]).write_bytes(jpeg)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    coco = {"images": named, "annotations": entries, "categories": categories}
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(coco))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    entries = [
        entry(1, 1, identity=70), entry(2, 1), entry(3, 2, identity=9), entry(4, 2, identity=None),
        entry(5, 3, 2, identity=11), entry(6, 3, identity=70), entry(7, 3, iscrowd=1),
    ]  # fmt: skip
    root = tmp_path_factory.mktemp("identities")
    report = prepare.prepare(write(root / "few", entries), "train", root / "made", progress=False)
    return open_source(report.directory, "train")


def test_numbers_follow_the_identities():
    assert numbered([12, None, 7, 12]).tolist() == [1, -1, 0, 1]
    assert numbered([None, None]) is None and numbered([]) is None


def test_identities_come_through_to_the_batch(source):
    assert source.targets.identities == 3
    assert [source[i].identity.tolist() for i in range(3)] == [[2, -1], [0, -1], [1, 2, -1]]
    loader = BatchLoader(source, size=(64, 64), max_targets=4, threads=1)
    batch, _ = loader([2, -1, 0])
    assert batch.identity.tolist() == [[1, 2, -1, -1], [-1] * 4, [2, -1, -1, -1]]
    assert batch.identified.tolist()[0] == [True, True, False, False]
    assert not (batch.identified & ~batch.mask).any()
    assert Subset(source, (2, 0)).targets.identity.tolist() == [1, 2, -1, 2, -1]


def test_the_ground_truth_keeps_them_as_they_were(source):
    got = [a.get("identity") for a in source.ground_truth()["annotations"]]
    assert got == [70, None, 9, None, 11, 70, None]


def test_data_without_them_has_none(tmp_path):
    folder = write(tmp_path / "none", [entry(1), entry(2, 2)])
    report = prepare.prepare(folder, "train", tmp_path / "made", progress=False)
    plain = open_source(report.directory, "train")
    assert plain.targets.identity is None and plain[0].identity is None
    loader = BatchLoader(plain, size=(64, 64), max_targets=2, threads=1)
    assert loader([0])[0].identity.tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"identity": "7"}, r"identity '7' \(a text\) .*expected an integer of 0 or more"),
        ({"identity": -1}, "identity -1 "),
        ({"identity": 1.5}, r"identity 1\.5 "),
        ({"identity": True}, "identity True "),
        ({"identity": 7, "iscrowd": 1}, "identity 7 of a crowd region"),
        (
            {"identity": 7, "category_id": 2, "image_id": 2},
            "of category 1 and, in annotation 2, of",
        ),
        ({"identity": 7}, "identity 7 is twice in image 1"),
    ],
)
def test_what_cannot_be_is_named(second, says, tmp_path):
    folder = write(tmp_path / "odd", [entry(1, identity=7), entry(2) | second, entry(3, 3)])
    with pytest.raises(InputError, match=f"broken identity .*{says}"):
        prepare.prepare(folder, "train", tmp_path / "made", progress=False)
    assert not list((tmp_path / "made").glob("odd*"))


def test_what_is_left_out_is_counted():
    report = Report()
    coco = {"annotations": [entry(1, identity=7), entry(2, identity=7)]}
    grouped = annotations.by_image(coco, [{"id": 1}], {1: 0, 2: 1}, report)
    assert [e["id"] for e in grouped.sound[1]] == [1] and grouped.broken[1] == 1
    assert report.broken == 1
