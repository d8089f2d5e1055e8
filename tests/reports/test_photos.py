"""Boxes over images are those of the evaluation, each marked right or wrong as COCO matches."""

import base64

import cv2
import numpy as np
import pytest

from tests.support import coco_folder
from yolor_jax.errors import InputError
from yolor_jax.evaluation.analysis import analyse
from yolor_jax.pictures.drawing import class_color
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.reports import photos
from yolor_jax.reports.gather import Left


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Images 1, 2, 3 of 64 x 48, each with a dog; the third has a crowd of cats too."""

    def edit(coco, _):
        coco["annotations"].append(
            coco_folder.box_entry(9, 3, category=7, bbox=(30, 20, 30, 20)) | {"iscrowd": 1}
        )

    folder = coco_folder.write(tmp_path_factory.mktemp("coco"), images=3, edit=edit)
    return open_dataset(folder, "val", tmp_path_factory.mktemp("prepared"), progress=False)


def left(source, results, tmp_path, score=0.5):
    """An evaluation of boxes (image, category, bbox, score)."""
    results = [
        {"image_id": i, "category_id": category, "bbox": list(box), "score": s}
        for i, category, box, s in results
    ]
    shown = Left(tmp_path, {"metrics": {}}, analyse(source.ground_truth(), results, score=score))
    shown.__dict__["results"] = results  # as if they had been read
    return shown


def test_boxes_by_hand(source, tmp_path):
    dog = source.ground_truth()["annotations"][0]["bbox"]
    shown = photos.photos(
        source,
        left(source, [
            (1, 3, dog, 0.9),               # right
            (1, 3, dog, 0.6),               # the same again
            (1, 90, (1, 2, 10, 10), 0.75),  # of nothing
            (1, 3, dog, 0.4),               # below the operating point
            (3, 7, (32, 22, 10, 10), 0.9),  # in the crowd: neither right nor wrong
        ], tmp_path),
        [3, 1],
    )  # fmt: skip
    assert [one.image_id for one in shown] == [3, 1]
    assert [(one.name, one.width, one.height) for one in shown] == [
        ("003.jpg", 64, 48), ("001.jpg", 64, 48)
    ]  # fmt: skip
    crowded, first = ([(box.kind, box.right, box.text) for box in one.boxes] for one in shown)
    assert crowded == [("true", False, "dog")]
    assert first == [
        ("true", True, "dog"),
        ("predicted", True, "dog 0.90"),
        ("predicted", False, "toothbrush 0.75"),
        ("predicted", False, "dog 0.60"),
    ]
    box = shown[1].boxes[2]
    assert (box.x, box.y, box.width, box.height) == (1, 2, 10, 10)
    assert box.color == "#{:02x}{:02x}{:02x}".format(*class_color(2))
    assert photos.photos(source, left(source, [], tmp_path), []) == []


def test_the_image_is_in_the_page_and_not_too_large():
    def decoded(uri):
        head, data = uri.split(",")
        assert head == "data:image/jpeg;base64"
        data = np.frombuffer(base64.b64decode(data), np.uint8)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]

    red = np.full((48, 64, 3), (200, 30, 20), np.uint8)
    assert np.abs(decoded(photos._jpeg(red)).astype(int) - red).max() < 10
    assert decoded(photos._jpeg(np.zeros((600, 1200, 3), np.uint8))).shape == (240, 480, 3)
    assert decoded(photos._jpeg(np.zeros((9000, 2, 3), np.uint8))).shape == (480, 1, 3)


def test_an_image_that_the_split_lacks(source, tmp_path):
    with pytest.raises(InputError, match=r"has no image 77, of which .* evaluate again"):
        photos.photos(source, left(source, [], tmp_path), [1, 77])
