"""What is wrong in YOLO's labels is counted, with its file and line; what is lawful is read."""

import numpy as np
import pytest

from tests.support.coco_folder import with_orientation
from tests.support.formats import write_text
from tests.support.small_folders import boxes, images, report_of
from yolor_jax.data.encoded import decode, read_header
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import formats
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.preparation.prepare import prepare

YAML = "names: [cat, dog]\ntrain: images/train\n"


def yolo(folder, labels="0 0.5 0.5 0.5 0.5\n", yaml=YAML):
    """Three images; `labels` are those of the second one."""
    images(folder / "images" / "train")
    write_text(folder / "data.yaml", yaml)
    write_text(folder / "labels" / "train" / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    write_text(folder / "labels" / "train" / "b.txt", labels)
    return folder


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("2 0.5 0.5 0.2 0.2", "unknown category id"),
        ("-1 0.5 0.5 0.2 0.2", "broken annotation"),
        ("0.0 0.5 0.5 0.2 0.2", "broken annotation"),
        ("cat 0.5 0.5 0.2 0.2", "broken annotation"),
        ("9" * 5000 + " 0.5 0.5 0.2 0.2", "broken annotation"),
        ("0", "broken box"),
        ("0 0.5 0.5 0.2", "broken box"),
        ("0 0.5 0.5 0.2 0.2 0.99", "broken box"),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 0.3", "broken box"),
        ("0 1.2 0.5 0.2 0.2", "broken box"),
        ("0 320 240 20 20", "broken box"),
        ("0 0.5 0.5 -0.005 0.2", "broken box"),
        ("0 nan 0.5 0.2 0.2", "broken box"),
        ("0 0.5 inf 0.2 0.2", "broken box"),
        ("0 0.5 0.5 1e999 0.2", "broken box"),
        ("0 0,5 0.5 0.2 0.2", "broken box"),
        ("0 0_5 0.5 0.2 0.2", "broken box"),
        ("0 0.1 0.1 0.9 0.1 0.9 1.4", "broken box"),
    ],
)
def test_a_wrong_line_of_yolo(tmp_path, line, kind):
    sound = "1 0.5 0.5 0.25 0.5"
    folder = yolo(tmp_path / "pets", f"{sound}\n\n{line}\n{sound}\n")
    report = report_of(folder, tmp_path)
    assert report.counts[kind] == report.broken == 1
    assert report.examples[kind][0].startswith("labels/train/b.txt:3: ")
    assert boxes(report)[1] == [[24, 12, 40, 36]] * 2
    with pytest.raises(InputError, match=r"labels/train/b\.txt:3: "):
        prepare(folder, "train", tmp_path / "again", progress=False)


def test_lawful_lines_of_yolo(tmp_path):
    lines = [
        "\ufeff0 0.5 0.5 0.5 0.5\r",
        "\t1  5e-1 +.5 .5 1\r",
        "1 0.25 0.25 0.75 0.25 0.75 0.5\r",
        "0 0.25 0.25 0.5 0.500001\r",
        "",
    ]
    report = report_of(yolo(tmp_path / "pets", "\n".join(lines)), tmp_path)
    assert report.broken == 0
    np.testing.assert_allclose(
        boxes(report)[1],
        [[16, 12, 48, 36], [16, 0, 48, 48], [16, 12, 48, 24], [0, 0, 32, 24.000024]],
        atol=1e-4,
    )


def test_empty_missing_and_superfluous_label_files(tmp_path):
    folder = yolo(tmp_path / "pets", "\n")
    write_text(folder / "labels" / "train" / "z.txt", "0 0.5 0.5 0.5 0.5\n")
    write_text(folder / "labels" / "train" / "classes.txt", "cat\ndog\n")
    (folder / "images" / "train" / "d.heic").write_bytes(b"heic")
    report = report_of(folder, tmp_path)
    assert boxes(report) == [[[16, 12, 48, 36]], [], []]
    assert report.counts["image without boxes"] == 2
    assert report.examples["image without label file"] == ["c.jpg"]
    assert report.examples["label file without image"] == ["labels/train/z.txt"]
    assert report.examples["file not in the JSON"] == ["d.heic"]


def test_labels_that_are_no_text(tmp_path):
    folder = yolo(tmp_path / "pets")
    (folder / "labels" / "train" / "b.txt").write_bytes(b"\xff\xfe0 0.5")
    report = report_of(folder, tmp_path)
    assert report.counts["broken annotation"] == report.broken == 1
    assert "labels/train/b.txt" in report.examples["broken annotation"][0]
    assert report.images == 2  # what is in b.jpg is unknown: it does not become background


def test_images_of_yolo_that_cannot_be_read(tmp_path):
    folder = yolo(tmp_path / "pets")
    image = folder / "images" / "train" / "b.jpg"
    image.write_bytes(image.read_bytes()[:200])
    report = report_of(folder, tmp_path)
    assert report.counts["unreadable image"] == 1 and report.images == 2
    write_text(folder / "train.txt", "./images/train/a.jpg\n./images/train/gone.jpg\n")
    write_text(folder / "data.yaml", "names: [cat, dog]\ntrain: train.txt\n")
    report = report_of(folder, tmp_path)
    assert report.examples["missing image"] == ["images/train/gone.jpg"] and report.images == 1


@pytest.mark.parametrize(("orientation", "box"), [(3, [0, 0, 32, 48]), (6, [0, 0, 24, 64])])
def test_parts_are_of_the_upright_image(tmp_path, orientation, box):
    folder = yolo(tmp_path / "pets", "0 0.25 0.5 0.5 1\n")
    image = folder / "images" / "train" / "b.jpg"  # 64 wide and 48 high, as it is stored
    image.write_bytes(with_orientation(image.read_bytes(), orientation))
    report = report_of(folder, tmp_path)
    assert boxes(report)[1] == [box] and report.counts["EXIF applied"] == 1
    (stored,) = [open_source(report.directory, "train")[1].jpeg]
    assert read_header(stored).orientation == 1
    assert decode(stored).shape[:2] == (box[3], 2 * box[2])


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("names: [cat\ntrain: images/train", "is no YAML"),
        ("names: [cat, dog]\nnames: [dog, cat]\ntrain: images/train", "'names' stands twice"),
        ("names: {0: cat, 0: dog}\ntrain: images/train", "'0' stands twice"),
        ("- " * 5000, "is no YAML"),
        ("\0", "is no YAML"),
        ("- cat\n- dog\n", "holds no settings"),
        ("train: images/train", "expected names"),
        ("names: cat\ntrain: images/train", "expected names"),
        ("names: []\ntrain: images/train", "expected names"),
        ("names: [[cat], dog]\ntrain: images/train", "expected names"),
        ("names: {1: cat, 2: dog}\ntrain: images/train", r"numbers \['1', '2'\]; expected 0 to 1"),
        ("names: {cat: 0}\ntrain: images/train", r"the numbers \['cat'\]"),
        ("names: [cat, dog]\nnc: 3\ntrain: images/train", "nc is 3, and there are 2 names"),
        ("names: [cat, cat]\ntrain: images/train", "every name once"),
        ("names: [cat, dog]\ntrain: {a: b}", "expected a path or a list"),
        ("names: [cat, dog]\npath: [a]\ntrain: images/train", "path is"),
        ("names: [cat, dog]\ntrain: nowhere", "nowhere, which is not there"),
        ("names: [cat, dog]\ntrain: [images/train, nowhere]", "nowhere, which is not there"),
        ("names: [cat, dog]\nval: images/train", r"has no split 'train'; it has \['val'\]"),
        ("names: [cat, dog]\nval:\n", "names no split that is there"),
        ("names: [cat, dog]\ntrain: labels/train", "no image"),
        ("names: [cat, dog]\nkpt_shape: [17, 3]\ntrain: images/train", "key points"),
    ],
)
def test_a_wrong_data_yaml(tmp_path, yaml, sentence):
    folder = yolo(tmp_path / "pets", yaml=yaml)
    with pytest.raises(InputError, match=sentence) as error:
        open_dataset(folder, "train", tmp_path / "prepared", progress=False)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    "yaml",
    [
        "names: {1: no, 0: 007}\ntrain: images/train\nnc: 2",
        "names: ['007', 'no']\npath: .\ntrain: images/train\nval: ~\ntest:",
        "names: ['007', 'no']\npath: /nowhere/on/this/machine\ntrain: [images/train]",
        "names:\n  - 007\n  - no\ntrain: ../images/train\nroboflow: {version: 1}",
    ],
)
def test_lawful_ways_of_data_yaml(tmp_path, yaml):
    folder = yolo(tmp_path / "pets", yaml=yaml)
    (format_,) = [formats.of(folder)]
    assert format_.find_splits(folder) == ["train"]
    source = open_dataset(folder, "train", tmp_path / "prepared", progress=False)
    assert source.class_names == ("007", "no") and len(source) == 3


def test_a_split_that_is_not_there_is_said(tmp_path):
    folder = yolo(tmp_path / "pets", yaml=YAML + "val: images/val\n")
    format_ = formats.require(folder)
    assert format_.find_splits(folder) == ["train"]
    assert f"val: {folder / 'images' / 'val'}" in format_.recognises(folder)


def test_names_without_data_yaml(tmp_path):
    folder = yolo(tmp_path / "pets")
    (folder / "data.yaml").unlink()
    with pytest.raises(InputError, match=r"no names of classes; expected data\.yaml"):
        open_dataset(folder, "train", tmp_path / "prepared", progress=False)
    write_text(folder / "classes.txt", "cat\ndog\n")
    assert boxes(report_of(folder, tmp_path))[0] == [[16, 12, 48, 36]]


def test_a_yaml_file_may_be_named_itself(tmp_path):
    folder = yolo(tmp_path / "pets")
    (folder / "data.yaml").rename(folder / "mine.yaml")
    assert boxes(report_of(folder / "mine.yaml", tmp_path))[0] == [[16, 12, 48, 36]]


def test_a_split_without_any_labels(tmp_path):
    folder = yolo(tmp_path / "pets")
    (folder / "labels" / "train").rename(folder / "labels" / "elsewhere")
    with pytest.raises(InputError, match=r"none of the 3 images .*/labels/train/a\.txt or beside"):
        open_dataset(folder, "train", tmp_path / "prepared", progress=False)


def test_labels_beside_the_images(tmp_path):
    folder = yolo(tmp_path / "pets")
    for path in (folder / "labels" / "train").iterdir():
        path.rename(folder / "images" / "train" / path.name)
    report = report_of(folder, tmp_path)
    assert boxes(report)[0] == [[16, 12, 48, 36]]
    assert "file not in the JSON" not in report.counts
