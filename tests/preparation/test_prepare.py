"""COCO-format folders: everything that may be wrong with one is said, and nothing is lost."""

import hashlib
import json
import os

import cv2
import numpy as np
import pytest

from tests.support.coco_folder import box_entry, image_entry, jpeg, with_orientation, write
from tests.support.small_folders import prepare_val
from yolor_jax.data.encoded import decode, read_header, read_image
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import prepare as prepare_module
from yolor_jax.preparation.prepare import prepare
from yolor_jax.preparation.report import NOTED, Report


def test_sound_folder(tmp_path):
    report = prepare_val(write(tmp_path / "pets"), tmp_path)
    assert (report.images, report.annotations, report.targets) == (4, 4, 4)
    assert report.broken == 0 and report.counts == {}
    source = open_source(report.directory, "val")
    assert source.class_names == ("dog", "cat", "toothbrush")  # in the order of the ids
    assert source.category_ids == (3, 7, 90)
    assert source.image_ids == (1, 2, 3, 4)
    example = source[2]
    np.testing.assert_array_equal(example.boxes_xyxy, [[8.25, 6.5, 28.375, 23.25]])
    assert example.jpeg == jpeg(48, 64, seed=2)  # stored as it was
    truth = source.ground_truth()
    assert truth["annotations"][2] == box_entry(3, 3)
    assert Report.load(report.directory, "val") == report


def test_lawful_oddities_are_kept_and_counted(tmp_path):
    def edit(coco, images):
        coco["images"].append({"id": 50, "file_name": "sub/005.jpg"})
        (images / "sub").mkdir()
        (images / "sub" / "005.jpg").write_bytes(jpeg(30, 20))
        (images / "unused.jpg").write_bytes(jpeg(9, 9))
        coco["annotations"] = [
            box_entry(1, 1, bbox=(-5, 40.5, 30, 20.5)),  # reaches out at the left and the bottom
            box_entry(2, 1, bbox=(64, 10, 5, 5)),  # outside, touches the right edge
            box_entry(3, 1, bbox=(10, 10, 0, 7)),
            box_entry(4, 1, iscrowd=1, bbox=(0, 0, 64, 48)),
            box_entry(8, 2, bbox=(44, 28, 20, 20)),  # up to the corner: not clipped
            {"image_id": 2, "category_id": 90, "bbox": [1, 2, 3, 4]},
            box_entry(8, 3, bbox=(5, 5, 9, 9)),
        ]

    report = prepare_val(write(tmp_path / "pets", edit=edit), tmp_path)
    assert report.counts == {
        "image without size": 1,
        "image without boxes": 2,
        "file not in the JSON": 1,
        "crowd region": 1,
        "box clipped": 1,
        "box outside": 1,
        "box without area": 1,
        "annotation without id": 1,
        "annotation id used twice": 1,
        "annotation without area": 1,
    }
    assert all(NOTED[kind] in report.table() for kind in report.counts)
    assert (report.images, report.annotations, report.targets) == (5, 7, 5)
    source = open_source(report.directory, "val")
    np.testing.assert_array_equal(source[0].boxes_xyxy, [[0, 40.5, 25, 48], [0, 0, 64, 48]])
    np.testing.assert_array_equal(source[0].is_crowd, [False, True])
    np.testing.assert_array_equal(source[1].labels, [0, 2])
    assert source[4].boxes_xyxy.shape == (0, 4) and source.name(4) == "sub/005.jpg"
    truth = source.ground_truth()
    assert truth["annotations"][0]["bbox"] == [-5, 40.5, 30, 20.5]  # the original
    assert truth["annotations"][5] == box_entry(5, 2, 90, (1, 2, 3, 4), area=12)
    assert truth["images"][4] == {"id": 50, "file_name": "sub/005.jpg", "height": 30, "width": 20}


@pytest.mark.parametrize(
    ("orientation", "stated", "kind", "size"),
    [
        (6, (64, 48), "EXIF applied", (64, 48)),
        (6, (48, 64), "EXIF not applied", (48, 64)),
        (3, (48, 64), "EXIF applied", (48, 64)),
        (6, None, "EXIF applied", (64, 48)),
        (1, (48, 64), None, (48, 64)),
    ],
)
def test_pixels_are_upright_unless_the_json_gives_the_stored_size(
    tmp_path, orientation, stated, kind, size
):
    def edit(coco, images):
        path = images / "001.jpg"
        path.write_bytes(with_orientation(path.read_bytes(), orientation))
        image = coco["images"][0]
        image["height"], image["width"] = stated or (None, None)
        coco["annotations"][0]["bbox"] = [0, 0, size[1], size[0]]  # the whole image

    folder = write(tmp_path / "pets", images=1, edit=edit)
    report = prepare_val(folder, tmp_path)
    assert report.counts.get(kind, 0) == bool(kind)
    source = open_source(report.directory, "val")
    image = source.ground_truth()["images"][0]
    assert (image["height"], image["width"]) == size
    np.testing.assert_array_equal(source[0].boxes_xyxy, [[0, 0, size[1], size[0]]])
    assert read_header(source[0].jpeg)[:2] == size
    turns = {3: 2, 6: -1}.get(orientation, 0) if kind == "EXIF applied" else 0
    pixels = np.rot90(decode(jpeg(48, 64)), turns)
    np.testing.assert_array_equal(decode(source[0].jpeg), pixels)
    if kind != "EXIF not applied":  # detection sees what training sees
        np.testing.assert_array_equal(read_image(folder / "val" / "001.jpg"), pixels)


@pytest.mark.parametrize("skip_broken", [False, True])
def test_boxes_in_parts_of_the_image_are_refused(tmp_path, skip_broken):
    def edit(coco, images):
        for annotation in coco["annotations"]:
            annotation["bbox"] = [0.25, 0.5, 0.5, 0.5]

    with pytest.raises(InputError, match="in pixels"):
        prepare_val(write(tmp_path / "pets", edit=edit), tmp_path, skip_broken=skip_broken)


def test_an_image_that_keeps_most_of_its_boxes_stays_and_the_lost_ones_are_counted(tmp_path):
    def edit(coco, images):
        coco["annotations"] = [box_entry(i + 1, 1) for i in range(3)]
        coco["annotations"] += [box_entry(i + 4, 2) for i in range(3)]
        for broken in (0, 3, 4):
            coco["annotations"][broken]["bbox"] = None

    report = prepare_val(write(tmp_path / "pets", images=2, edit=edit), tmp_path, skip_broken=True)
    assert report.counts["object now background"] == 1  # of the first image
    assert report.counts["image that lost most boxes"] == 1  # the second one
    assert (report.images, report.annotations) == (1, 2)


def test_other_formats_are_stored_as_they_are(tmp_path):
    def edit(coco, images):
        png = cv2.imencode(".png", np.full((48, 64, 3), 9, np.uint8))[1].tobytes()
        (images / "001.png").write_bytes(png)
        coco["images"][0]["file_name"] = "001.png"
        webp = cv2.imencode(".webp", np.full((48, 64), 9, np.uint8))[1].tobytes()
        (images / "002.jpg").write_bytes(webp)

    report = prepare_val(write(tmp_path / "pets", images=2, edit=edit), tmp_path)
    source = open_source(report.directory, "val")
    assert source[0].jpeg.startswith(b"\x89PNG")
    assert (decode(source[0].jpeg) == 9).all()
    assert decode(source[1].jpeg).shape == (48, 64, 3)


def test_change_is_noticed_and_nothing_done_twice(tmp_path, caplog):
    folder = write(tmp_path / "pets")
    first = prepare_val(folder, tmp_path)
    before = (first.directory / "dataset_info.json").stat().st_mtime_ns
    assert prepare_val(folder, tmp_path).directory == first.directory
    assert (first.directory / "dataset_info.json").stat().st_mtime_ns == before
    assert not caplog.records
    (folder / "val" / "001.jpg").write_bytes(jpeg(48, 64, seed=77))
    second = prepare_val(folder, tmp_path)
    assert second.directory != first.directory
    assert "changed since" in caplog.text and str(first.directory) in caplog.text
    assert open_source(second.directory, "val")[0].jpeg == jpeg(48, 64, seed=77)


def test_names_of_any_characters_survive(tmp_path):
    names = ["a\u00a0b", "猫 ☃", 'comma, quote" and \\']

    def edit(coco, images):
        coco["categories"] = [{"id": i + 3, "name": name} for i, name in enumerate(names)]

    source = open_source(
        prepare_val(write(tmp_path / "pets", edit=edit), tmp_path).directory, "val"
    )
    assert list(source.class_names) == names
    assert [category["name"] for category in source.ground_truth()["categories"]] == names


@pytest.mark.parametrize("keep_time", [False, True])
def test_an_image_of_the_same_size_in_place_of_another_is_noticed(tmp_path, keep_time):
    def edit(coco, images):
        cv2.imwrite(str(images / "001.bmp"), np.full((48, 64, 3), 200, np.uint8))
        coco["images"][0]["file_name"] = "001.bmp"

    folder = write(tmp_path / "pets", images=1, edit=edit)
    before = prepare_val(folder, tmp_path)
    path = folder / "val" / "001.bmp"
    time = path.stat().st_mtime_ns
    cv2.imwrite(str(path), np.full((48, 64, 3), 50, np.uint8))
    if keep_time:
        os.utime(path, ns=(time, time))
    after = prepare_val(folder, tmp_path)
    assert after.directory != before.directory
    assert (decode(open_source(after.directory, "val")[0].jpeg) == 50).all()


def test_a_time_of_change_is_noticed_beyond_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare_module, "_SAMPLE", 1)  # the first image alone
    folder = write(tmp_path / "pets", images=2)
    before = prepare_val(folder, tmp_path)
    os.utime(folder / "val" / "002.jpg", (1, 1))
    assert prepare_val(folder, tmp_path).directory != before.directory


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path):
    def edit(coco, images):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (images / "002.jpg").rename(elsewhere / "002.jpg")
        (images / "sub").symlink_to(elsewhere)
        (elsewhere / "circle").symlink_to(images)
        (images / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
        coco["images"][1]["file_name"] = "sub/002.jpg"

    report = prepare_val(write(tmp_path / "pets", images=2, edit=edit), tmp_path)
    assert report.images == 2 and report.counts == {}


@pytest.mark.parametrize(("height", "width"), [(6, 50), (50, 6), (1, 1)])
@pytest.mark.parametrize("ending", [".png", ".bmp", ".webp", ".jpg"])
def test_small_images_are_kept(tmp_path, height, width, ending):
    def edit(coco, images):
        image = np.full((height, width, 3), 9, np.uint8)
        cv2.imwrite(str(images / f"001{ending}"), image)
        coco["images"][0] = {"id": 1, "file_name": f"001{ending}"}
        coco["annotations"][0]["bbox"] = [0, 0, width, max(height, 2)]

    report = prepare_val(write(tmp_path / "pets", images=1, edit=edit), tmp_path)
    assert decode(open_source(report.directory, "val")[0].jpeg).shape == (height, width, 3)


def test_what_an_older_version_verified_is_verified_anew(tmp_path):
    folder = write(tmp_path / "pets")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    place = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:4]
    log = prepared / f".pets-{place}-val.verified.jsonl"
    log.write_text(json.dumps({"name": "003.jpg", "mtime": 1, "problem": "none today"}) + "\n")
    assert prepare_val(folder, tmp_path).images == 4
    assert [path.name for path in prepared.glob(".*.verified.jsonl")] == [log.name]


def spoil_json(folder):
    (folder / "annotations" / "instances_val.json").write_text('{"images": [')


def spoil_lists(folder):
    (folder / "annotations" / "instances_val.json").write_text('{"images": []}')


def spoil_categories(folder):
    path = folder / "annotations" / "instances_val.json"
    coco = json.loads(path.read_text())
    coco["categories"].append({"id": 8, "name": "cat"})
    path.write_text(json.dumps(coco))


def spoil_keys(folder):
    path = folder / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', '"id": 1, "iscrowd": 0'))


def spoil_nesting(folder):
    (folder / "annotations" / "instances_val.json").write_text("[" * 100_000)


def spoil_number(folder):
    (folder / "annotations" / "instances_val.json").write_text("1" * 5000)


def renamed(name, number=3):
    def spoil(folder):
        path = folder / "annotations" / "instances_val.json"
        coco = json.loads(path.read_text())
        coco["categories"][1] = {"id": number, "name": name}
        path.write_text(json.dumps(coco))

    return spoil


def spoil_all_images(folder):
    path = folder / "annotations" / "instances_val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": [], "annotations": []}))


@pytest.mark.parametrize(
    ("spoil", "split", "sentence"),
    [
        (spoil_json, "val", "is no complete JSON"),
        (spoil_lists, "val", r"lacks the lists \['annotations', 'categories'\]"),
        (spoil_categories, "val", "every name once"),
        (spoil_keys, "val", "the key 'id' stands twice"),
        (spoil_nesting, "val", "is no complete JSON"),
        (spoil_number, "val", "is no complete JSON"),
        (renamed(""), "val", r"categories\[1\] has the name ''"),
        (renamed("dog\n"), "val", r"categories\[1\] has the name 'dog\\n'"),
        (renamed("d\x1bog"), "val", r"categories\[1\] has the name 'd\\x1bog'"),
        (renamed("\ud800"), "val", r"categories\[1\] has the name"),
        (renamed(3), "val", r"categories\[1\] has the name 3; expected a text"),
        (
            renamed("dog", "3"),
            "val",
            r"categories\[1\] has the id '3' \(a text\); expected an integer",
        ),
        (renamed("dog", 2**63), "val", r"categories\[1\] has the id 9223372036854775808"),
        (spoil_all_images, "val", "leaves no image for the split 'val'"),
        (lambda folder: None, "train", r"no split 'train'; it has \['val'\]: give --config\."),
        (lambda folder: None, "../val", "expected letters, digits, underscores and hyphens"),
        (lambda folder: (folder / "val").rename(folder / "x"), "val", "images of the split 'val'"),
    ],
)
def test_unusable_folder(tmp_path, spoil, split, sentence):
    folder = write(tmp_path / "pets")
    spoil(folder)
    with pytest.raises(ValueError, match=sentence):
        prepare(folder, split, tmp_path / "prepared", progress=False)


def test_images_folder_and_progress(tmp_path, capsys):
    folder = write(tmp_path / "pets")
    (folder / "images").mkdir()
    (folder / "val").rename(folder / "images" / "val")
    report = prepare(folder, "val", tmp_path / "prepared", progress=True)
    shown = capsys.readouterr().err
    assert "verifying val: 100%" in shown and "writing val: 100%" in shown
    assert report.table() in shown and str(report.directory) in shown


def test_report_knows_its_kinds():
    with pytest.raises(ValueError, match="one of BROKEN or NOTED"):
        Report().add("mising image", "a.jpg")
    assert image_entry(3)["id"] == 3


def test_a_folder_of_no_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is no data set: expected .* of these\n  COCO: annot"):
        prepare(tmp_path, "train", tmp_path / "prepared", progress=False)
