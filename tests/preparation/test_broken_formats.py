"""What is wrong in YOLO's labels, VOC's XML and tools' COCO is counted, with its file and line."""

import json

import numpy as np
import pytest

from tests.support.coco_folder import CATEGORIES, box_entry, image_entry, jpeg, with_orientation
from tests.support.formats import write_text
from yolor_jax.data.encoded import decode, read_header
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import formats
from yolor_jax.preparation.dataset import open_dataset
from yolor_jax.preparation.prepare import prepare
from yolor_jax.preparation.segmentation import surrounding_box


def images(folder, names=("a.jpg", "b.jpg", "c.jpg")):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        (folder / name).write_bytes(jpeg(48, 64, seed=seed))
    return folder


def report_of(folder, tmp_path, split="train", **options):
    return prepare(
        folder, split, tmp_path / "prepared", progress=False, skip_broken=True, **options
    )


def boxes(report, split="train"):
    source = open_source(report.directory, split)
    return [source[i].boxes_xyxy.tolist() for i in range(len(source))]


# YOLO text labels

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


# Pascal VOC

BOX = "<xmin>17</xmin><ymin>13</ymin><xmax>48</xmax><ymax>36</ymax>"


def voc_object(name="<name>cat</name>", box=f"<bndbox>{BOX}</bndbox>", more=""):
    return f"<object>{name}{more}{box}</object>"


def voc(folder, xml):
    """Three images; `xml` is that of the second one."""
    images(folder)
    write_text(folder / "a.xml", f"<annotation>{voc_object()}</annotation>")
    data = xml if isinstance(xml, bytes) else xml.encode()
    (folder / "b.xml").write_bytes(data)
    return folder


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        ("<annotation><object>", "broken annotation"),
        ("", "broken annotation"),
        (b"\xff\xfe\x00", "broken annotation"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "broken annotation"),
        (f"{BOMB}<annotation><object><name>&y;</name></object></annotation>", "broken annotation"),
        (f"{BOMB}<annotation/>".encode("utf-16"), "broken annotation"),
        (f"<annotation>{voc_object(name='')}</annotation>", "broken annotation"),
        (
            f"<annotation>{voc_object(more='<difficult>maybe</difficult>')}</annotation>",
            "broken annotation",
        ),
        (f"<annotation>{voc_object(box='')}</annotation>", "broken box"),
        *(
            (f"<annotation>{voc_object().replace('>17<', f'>{x}<')}</annotation>", "broken box")
            for x in ("", "nan", "1_7", "0x11", "1e999", "seventeen", "49")
        ),
    ],
)
def test_a_wrong_file_of_voc(tmp_path, xml, kind):
    report = report_of(voc(tmp_path / "pets", xml), tmp_path)
    assert report.counts[kind] == report.broken == 1
    assert report.examples[kind][0].startswith("b.xml")


def test_lawful_files_of_voc(tmp_path):
    part = f"<part><name>head</name><bndbox>{BOX.replace('17', '20')}</bndbox></part>"
    objects = [
        voc_object(name="<name> dog\n</name>", more="<difficult>1</difficult>"),
        voc_object().replace(">17<", "> 17.5 <").replace("</bndbox>", f"</bndbox>{part}"),
        voc_object(
            box="<bndbox><ymax>48</ymax><xmax>64</xmax><ymin>1</ymin><xmin>1</xmin></bndbox>"
        ),
    ]
    size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
    xml = f"<?xml version='1.0' encoding='utf-8'?><annotation>{size}{''.join(objects)}</annotation>"
    folder = voc(tmp_path / "pets", xml)
    write_text(folder / "z.xml", f"<annotation>{voc_object()}</annotation>")
    report = report_of(folder, tmp_path)
    assert report.broken == 0 and report.counts["crowd region"] == 1
    assert boxes(report) == [
        [[16, 12, 48, 36]],
        [[16, 12, 48, 36], [16.5, 12, 48, 36], [0, 0, 64, 48]],
        [],
    ]
    source = open_source(report.directory, "train")
    assert source.class_names == ("cat", "dog") and source[1].labels.tolist() == [1, 0, 0]
    assert source[1].is_crowd.tolist() == [True, False, False]
    assert report.examples["classes in sorted order"] == ["cat, dog"]
    assert report.examples["image without label file"] == ["c.jpg"]
    assert report.examples["label file without image"] == ["z.xml"]


@pytest.mark.parametrize("size", ["<width>65</width><height>48</height>", "<width>x</width>"])
def test_a_size_that_is_not_that_of_the_image(tmp_path, size):
    xml = f"<annotation><size>{size}</size>{voc_object()}</annotation>"
    report = report_of(voc(tmp_path / "pets", xml), tmp_path)
    assert report.counts["size differs"] == report.broken == 1
    assert report.examples["size differs"][0].startswith("b.jpg")


def test_a_split_needs_a_name_for_files(tmp_path):
    folder = voc(tmp_path / "JPEGImages", "<annotation/>").parent
    write_text(folder / "Annotations" / "a.xml", f"<annotation>{voc_object()}</annotation>")
    write_text(folder / "ImageSets" / "Main" / "train+1.txt", "a\n")
    with pytest.raises(InputError, match=r"the split 'train\+1'; expected letters, digits"):
        report_of(folder, tmp_path, "train+1")


def test_lists_of_voc(tmp_path):
    folder = tmp_path / "VOC2007"
    images(folder / "JPEGImages")
    for name, label in (("a", "cat"), ("b", "ape")):
        xml = f"<annotation>{voc_object(name=f'<name>{label}</name>')}</annotation>"
        write_text(folder / "Annotations" / f"{name}.xml", xml)
    lists = {"train": "a\nc\n", "val": "b\ngone\n", "cat_train": "a 1\nc -1\n", "test": "c\n"}
    for name, text in lists.items():
        write_text(folder / "ImageSets" / "Main" / f"{name}.txt", text)
    assert formats.of(folder).find_splits(folder) == ["test", "train", "val"]
    report = report_of(folder, tmp_path)
    assert boxes(report) == [[[16, 12, 48, 36]], []] and report.broken == 0
    assert "file not in the JSON" not in report.counts  # b is of another split
    assert open_source(report.directory, "train").class_names == ("ape", "cat")
    assert report_of(folder, tmp_path, "val").examples["missing image"] == ["gone.jpg"]
    with pytest.raises(InputError, match=r"none of the 1 images .*Annotations/c\.xml"):
        report_of(folder, tmp_path, "test")
    with pytest.raises(
        InputError, match=r"no split 'cat_train'; it has \['test', 'train', 'val'\]"
    ):
        report_of(folder, tmp_path, "cat_train")


# COCO as tools export it


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
