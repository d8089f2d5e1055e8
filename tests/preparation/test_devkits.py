"""Pascal VOC's years below the folder that is named: VOCdevkit, or what holds it."""

import pytest

from tests.support import formats as writers
from tests.support.coco_folder import jpeg
from yolor_jax.data.sources import open_source
from yolor_jax.preparation import voc
from yolor_jax.preparation.prepare import prepare


def write(folder, name):
    """One image of a class, in one split."""
    image = {"id": 1, "file_name": "a.jpg", "height": 48, "width": 64}
    entry = {"image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16], "iscrowd": 0}
    coco = {
        "images": [image],
        "annotations": [entry],
        "categories": [{"id": 1, "name": name}],
    }
    writers.write_voc(folder, {"train": (coco, {"a.jpg": jpeg(48, 64)})})


@pytest.mark.parametrize("above", ["", "VOCdevkit"])
def test_one_year_and_two(tmp_path, above):
    folder = tmp_path / "pets"
    write(folder / above / "VOC2012", "dog")
    inside = (folder / above / "VOC2012").relative_to(folder)
    assert voc.recognises(folder) == f"{inside}/Annotations"
    assert voc.find_splits(folder) == ["train"]
    report = prepare(folder, "train", tmp_path / "prepared", progress=False)
    assert open_source(report.directory, "train").class_names == ("dog",)

    write(folder / above / "VOC2007", "cat")
    assert voc.find_splits(folder) == ["train_VOC2007", "train_VOC2012"]
    report = prepare(folder, "train_VOC2012", tmp_path / "prepared", progress=False)
    source = open_source(report.directory, "train_VOC2012")
    assert source.class_names == ("cat", "dog") and source[0].labels.tolist() == [1]
    assert source[0].boxes_xyxy.tolist() == [[8, 8, 24, 24]]
