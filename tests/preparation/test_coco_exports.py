"""COCO as tools export it: names, super-categories, segmentations, and what is wrong in them."""

import json

import pytest

from tests.support.coco_folder import CATEGORIES, box_entry, image_entry
from tests.support.formats import write_text
from tests.support.small_folders import images, report_of
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation.segmentation import surrounding_box


def coco(**changes):
    entries = {
        "images": [image_entry(number) for number in (1, 2)],
        "annotations": [box_entry(number, number) for number in (1, 2)],
        "categories": CATEGORIES,
    }
    return {**entries, **changes}


def studio(folder, entries, names=("001.jpg", "002.jpg")):
    for name in names:
        images((folder / "images" / name).parent, [name.rpartition("/")[2]])
    write_text(folder / "result.json", json.dumps(entries))
    return folder


def named(*names):
    return coco(images=[{**image_entry(i), "file_name": name} for i, name in enumerate(names, 1)])


def test_a_name_that_ends_like_several_files(tmp_path):
    folder = studio(
        tmp_path / "pets", named("/x/001.jpg", "002.jpg"), ("a/001.jpg", "b/001.jpg", "002.jpg")
    )
    report = report_of(folder, tmp_path, "result")
    assert report.examples["file name of several files"] == ["/x/001.jpg -> a/001.jpg, b/001.jpg"]
    assert report.examples["missing image"] == ["/x/001.jpg"] and report.images == 1


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("b/001.jpg", "b/001.jpg"),
        ("/data/local-files/?d=b/001.jpg", "b/001.jpg"),
        ("C:\\pictures\\b\\001.jpg", "b/001.jpg"),
        ("s3://bucket/b/001.jpg", "b/001.jpg"),
        ("images/my%20cat.jpg", "my cat.jpg"),
        ("images/50%25.jpg", "50%25.jpg"),
        ("images/60%25.jpg", "60%.jpg"),
    ],
)
def test_a_name_that_ends_like_one_file(tmp_path, name, there):
    folder = studio(
        tmp_path / "pets",
        named(name),
        ("a/001.jpg", "b/001.jpg", "my cat.jpg", "50%25.jpg", "60%.jpg"),
    )
    report = report_of(folder, tmp_path, "result")
    assert report.images == 1
    assert open_source(report.directory, "result").name(0) == there


def roboflow(folder, categories, category, splits=("train", "valid")):
    for split in splits:
        images(folder / split, ["001.jpg", "002.jpg"])
        entries = [box_entry(n, n, category if split == "valid" else 1) for n in (1, 2)]
        text = json.dumps(coco(annotations=entries, categories=categories))
        write_text(folder / split / "_annotations.coco.json", text)
    return folder


SUPER = [
    {"id": 0, "name": "pets", "supercategory": "none"},
    {"id": 1, "name": "cat", "supercategory": "pets"},
]


@pytest.mark.parametrize(
    ("categories", "category", "kept"),
    [
        (SUPER, 1, ("cat",)),
        (SUPER, 0, ("pets", "cat")),  # an object of another split has it
        ([SUPER[0], {"id": 1, "name": "cat"}], 1, ("pets", "cat")),  # nobody's super-category
    ],
)
def test_a_super_category_is_left_out_where_nothing_has_it(tmp_path, categories, category, kept):
    folder = roboflow(tmp_path / "pets", categories, category)
    report = report_of(folder, tmp_path)
    assert tuple(c["name"] for c in report.categories) == kept
    assert report.counts.get("super-category left out", 0) == (len(kept) == 1)
    assert report.broken == 0


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_text("{"), "is no complete JSON"),
        (lambda path: path.write_text("[]"), "lacks the lists"),
        (lambda path: path.write_bytes(b"\xff\xff"), "is no complete JSON"),
    ],
)
def test_a_file_that_is_no_coco(tmp_path, spoil, sentence):
    folder = roboflow(tmp_path / "pets", SUPER, 1)
    spoil(folder / "valid" / "_annotations.coco.json")
    with pytest.raises(InputError, match=rf"valid/_annotations\.coco\.json {sentence}"):
        report_of(folder, tmp_path)


# Segmentations

RUNS = {"size": [4, 3], "counts": [5, 2, 5]}


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[1, 2, 5, 2, 3, 8.5]], [1, 2, 4, 6.5]),
        ([[1, 2, 5, 2, 3, 8], [0, 3, 1, 3, 1, 4]], [0, 2, 5, 6]),
        (RUNS, [1, 1, 1, 2]),
        ({"size": [4, 3], "counts": [0, 12]}, [0, 0, 3, 4]),
        ({"size": [4, 3], "counts": [3, 2, 7]}, [0, 0, 2, 4]),  # goes on in the next column
        ({"size": [4, 3], "counts": [0, 0, 3, 1, 8]}, [0, 3, 1, 1]),
    ],
)
def test_the_box_around_a_segmentation(segmentation, box):
    assert surrounding_box(segmentation) == box


@pytest.mark.parametrize(
    "segmentation",
    [
        "polygon", 7, [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [1, 2, 3, 4, 5, 6],
        [[1, 2, 3, 4, 5, "6"]], [[1, 2, 3, 4, 5, float("nan")]], [[1, 2, 3, 4, 5, None]],
        {"size": [4, 3]}, {**RUNS, "size": [0, 3]}, {**RUNS, "size": [4.0, 3]},
        {**RUNS, "size": [2**40, 3]}, {**RUNS, "counts": [5, 2]}, {**RUNS, "counts": [5, -2, 9]},
        {**RUNS, "counts": [12]}, {**RUNS, "counts": "5"}, {**RUNS, "counts": "\x7f\x00"},
        {**RUNS, "counts": "o" * 50}, {**RUNS, "counts": ""}, {**RUNS, "counts": [5, True, 6]},
    ],
)  # fmt: skip
def test_a_damaged_segmentation(tmp_path, segmentation):
    with pytest.raises(InputError, match="its segmentation"):
        surrounding_box(segmentation)
    bare = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": segmentation}
    report = report_of(
        studio(tmp_path / "pets", coco(annotations=[bare, box_entry(2, 2)])), tmp_path, "result"
    )
    assert report.counts["broken box"] == report.broken == 1
    assert report.examples["broken box"][0].startswith("annotations[0] ")
    assert report.targets == 1


def test_no_box_and_no_segmentation_is_no_annotation(tmp_path):
    bare = {"id": 1, "image_id": 1, "category_id": 3}
    report = report_of(
        studio(tmp_path / "pets", coco(annotations=[bare, box_entry(2, 2)])), tmp_path, "result"
    )
    assert report.counts["broken annotation"] == report.broken == 1
