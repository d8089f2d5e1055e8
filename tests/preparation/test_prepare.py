"""COCO-format folders: everything that may be wrong with one is said, and nothing is lost."""

import hashlib
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.support.coco_folder import box_entry, image_entry, jpeg, with_orientation, write
from yolor_jax.data.encoded import decode, read_header
from yolor_jax.data.sources import open_source
from yolor_jax.preparation import check_images as check_module
from yolor_jax.preparation.prepare import prepare
from yolor_jax.preparation.report import BROKEN, NOTED, Report


def run(folder, tmp_path, **options):
    return prepare(folder, "val", tmp_path / "prepared", progress=False, **options)


def test_sound_folder(tmp_path):
    report = run(write(tmp_path / "pets"), tmp_path)
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


def break_missing(coco, images):
    (images / "002.jpg").unlink()


def break_truncated(coco, images):
    data = (images / "002.jpg").read_bytes()
    (images / "002.jpg").write_bytes(data[: len(data) // 2])


def break_truncated_with_thumbnail(coco, images):
    """The end marker of an EXIF thumbnail must not pass for the end of the image."""
    data = with_orientation((images / "002.jpg").read_bytes(), 1)
    data = data[:2] + b"\xff\xe2\x00\x06\xff\xd8\xff\xd9" + data[2:]
    assert read_header(data) == (48, 64, 1)
    (images / "002.jpg").write_bytes(data[:-40])


def break_no_image(coco, images):
    (images / "002.jpg").write_bytes(b"<html>404 not found</html>")


def break_empty_file(coco, images):
    (images / "002.jpg").write_bytes(b"")


def break_size(coco, images):
    coco["images"][1]["height"] = 50


def break_turned_size_without_exif(coco, images):
    coco["images"][1].update(height=64, width=48)


def break_image_id(coco, images):
    coco["images"][1]["id"] = 1


def break_image_entry(coco, images):
    coco["images"][1]["id"] = "2"


def break_category(coco, images):
    coco["annotations"][1]["category_id"] = 91


def break_image_of_annotation(coco, images):
    coco["annotations"][1]["image_id"] = 99


def break_nan(coco, images):
    coco["annotations"][1]["bbox"][2] = float("nan")


def break_negative_width(coco, images):
    coco["annotations"][1]["bbox"][2] = -4.0


def break_area(coco, images):
    coco["annotations"][1]["area"] = float("inf")


def break_three_numbers(coco, images):
    coco["annotations"][1]["bbox"] = [1, 2, 3]


def break_annotation_id(coco, images):
    coco["annotations"][1]["id"] = 1


def break_no_bbox(coco, images):
    del coco["annotations"][1]["bbox"]


@pytest.mark.parametrize(
    ("edit", "kind", "where", "images_left"),
    [
        (break_missing, "missing image", "002.jpg", 3),
        (break_truncated, "unreadable image", "002.jpg (truncated", 3),
        (break_truncated_with_thumbnail, "unreadable image", "002.jpg (truncated", 3),
        (break_no_image, "unreadable image", "002.jpg (no image", 3),
        (break_empty_file, "unreadable image", "002.jpg (no image", 3),
        (break_size, "size differs", "JSON (50, 64), image (48, 64)", 3),
        (break_turned_size_without_exif, "size differs", "JSON (64, 48), image (48, 64)", 3),
        (break_image_id, "duplicate image id", "1 (002.jpg)", 3),
        (break_image_entry, "broken image entry", "images[1]", 3),
        (break_category, "unknown category id", "annotations[1] (id 2, category_id 91)", 4),
        (break_image_of_annotation, "unknown image id", "annotations[1] (id 2, image_id 99)", 4),
        (break_nan, "broken box", "annotations[1] (id 2, bbox [8.25, 6.5, nan, 16.75]", 4),
        (break_negative_width, "broken box", "-4.0", 4),
        (break_area, "broken box", "area inf", 4),
        (break_three_numbers, "broken box", "[1, 2, 3]", 4),
        (break_annotation_id, "broken annotation", "annotations[1] (id 1", 4),
        (break_no_bbox, "broken annotation", "annotations[1] (id 2", 4),
    ],
)
def test_what_is_broken_stops_or_is_counted(tmp_path, edit, kind, where, images_left):
    folder = write(tmp_path / "pets", edit=edit)
    with pytest.raises(ValueError) as caught:
        run(folder, tmp_path)
    message = str(caught.value)
    assert "instances_val.json: " in message and "entries are broken" in message
    assert kind in message and BROKEN[kind] in message and where in message
    assert "Repair the data set, or leave the broken entries out with skip_broken=True" in message
    assert not list((tmp_path / "prepared").glob("pets*"))

    report = run(folder, tmp_path, skip_broken=True)
    assert report.counts[kind] == 1 and where in report.table()
    assert report.images == images_left
    assert report.annotations == 3
    truth = open_source(report.directory, "val").ground_truth()
    assert len(truth["images"]) == images_left and len(truth["annotations"]) == 3
    with pytest.raises(ValueError, match="entries are broken"):
        run(folder, tmp_path)  # what was prepared with skip_broken is not used without it
    assert run(folder, tmp_path, skip_broken=True) == report


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
        ]

    report = run(write(tmp_path / "pets", edit=edit), tmp_path)
    assert report.counts == {
        "image without size": 1,
        "image without boxes": 3,
        "file not in the JSON": 1,
        "crowd region": 1,
        "box clipped": 1,
        "box outside": 1,
        "box without area": 1,
        "annotation without id": 1,
        "annotation without area": 1,
    }
    assert all(NOTED[kind] in report.table() for kind in report.counts)
    assert (report.images, report.annotations, report.targets) == (5, 6, 4)
    source = open_source(report.directory, "val")
    np.testing.assert_array_equal(source[0].boxes_xyxy, [[0, 40.5, 25, 48], [0, 0, 64, 48]])
    np.testing.assert_array_equal(source[0].is_crowd, [False, True])
    np.testing.assert_array_equal(source[1].labels, [0, 2])
    assert source[4].boxes_xyxy.shape == (0, 4) and source.name(4) == "sub/005.jpg"
    truth = source.ground_truth()
    assert truth["annotations"][0]["bbox"] == [-5, 40.5, 30, 20.5]  # the original
    assert truth["annotations"][5] == box_entry(9, 2, 90, (1, 2, 3, 4), area=12)
    assert truth["images"][4] == {"id": 50, "file_name": "sub/005.jpg", "height": 30, "width": 20}


@pytest.mark.parametrize(
    ("orientation", "stated", "kind", "size"),
    [
        (6, (64, 48), "EXIF applied", (64, 48)),
        (6, (48, 64), "EXIF not applied", (48, 64)),
        (3, (48, 64), "EXIF not applied", (48, 64)),
        (1, (48, 64), None, (48, 64)),
    ],
)
def test_exif_follows_the_size_in_the_json(tmp_path, orientation, stated, kind, size):
    def edit(coco, images):
        path = images / "001.jpg"
        path.write_bytes(with_orientation(path.read_bytes(), orientation))
        coco["images"][0].update(height=stated[0], width=stated[1])

        coco["annotations"][0]["bbox"] = [0, 0, stated[1], stated[0]]  # the whole image

    report = run(write(tmp_path / "pets", images=1, edit=edit), tmp_path)
    assert report.counts == ({kind: 1} if kind else {})
    source = open_source(report.directory, "val")
    image = source.ground_truth()["images"][0]
    assert (image["height"], image["width"]) == size
    np.testing.assert_array_equal(source[0].boxes_xyxy, [[0, 0, size[1], size[0]]])
    data = source[0].jpeg
    assert read_header(data)[:2] == size
    pixels = decode(jpeg(48, 64)).astype(int)
    if kind == "EXIF applied":
        pixels = np.rot90(pixels, -1)  # orientation 6: turn clockwise
    assert abs(decode(data).astype(int) - pixels).mean() < 2
    assert decode(data).shape[:2] == size  # not turned a second time


def test_other_formats_are_stored_as_they_are(tmp_path):
    def edit(coco, images):
        png = cv2.imencode(".png", np.full((48, 64, 3), 9, np.uint8))[1].tobytes()
        (images / "001.png").write_bytes(png)
        coco["images"][0]["file_name"] = "001.png"
        webp = cv2.imencode(".webp", np.full((48, 64), 9, np.uint8))[1].tobytes()
        (images / "002.jpg").write_bytes(webp)

    report = run(write(tmp_path / "pets", images=2, edit=edit), tmp_path)
    source = open_source(report.directory, "val")
    assert source[0].jpeg.startswith(b"\x89PNG")
    assert (decode(source[0].jpeg) == 9).all()
    assert decode(source[1].jpeg).shape == (48, 64, 3)


def test_change_is_noticed_and_nothing_done_twice(tmp_path, caplog):
    folder = write(tmp_path / "pets")
    first = run(folder, tmp_path)
    before = (first.directory / "dataset_info.json").stat().st_mtime_ns
    assert run(folder, tmp_path).directory == first.directory
    assert (first.directory / "dataset_info.json").stat().st_mtime_ns == before
    assert not caplog.records
    (folder / "val" / "001.jpg").write_bytes(jpeg(48, 64, seed=77))
    second = run(folder, tmp_path)
    assert second.directory != first.directory
    assert "changed since" in caplog.text and str(first.directory) in caplog.text
    assert open_source(second.directory, "val")[0].jpeg == jpeg(48, 64, seed=77)


KILLED = """
import os, signal, sys
from yolor_jax.preparation import records
from yolor_jax.preparation.prepare import prepare
write = records.write
def killed(directory, *, splits, **more):
    def two(images):
        yield next(images)
        yield next(images)
        os.kill(os.getpid(), signal.SIGKILL)
    write(directory, splits={name: two(images) for name, images in splits.items()}, **more)
records._EXAMPLES_PER_CALL = 1
records.write = killed
prepare(sys.argv[1], "val", sys.argv[2], progress=False)
"""


def test_killed_while_writing_goes_on(tmp_path, monkeypatch):
    folder = write(tmp_path / "pets")
    prepared = tmp_path / "prepared"
    root = pathlib.Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(folder), str(prepared)]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == -9
    (half,) = prepared.glob(".*.partial")
    assert (half / "dataset_info.json").exists()
    assert not list(prepared.glob("pets*"))  # nothing that could be taken for whole
    (log,) = prepared.glob(".*.verified.jsonl")
    log.write_text(log.read_text() + '{"name": "00')  # as if it were killed once more

    checked = []
    check = check_module._check
    monkeypatch.setattr(check_module, "_check", lambda o, n: checked.append(n) or check(o, n))
    (folder / "val" / "003.jpg").write_bytes(jpeg(48, 64, seed=77))
    report = run(folder, tmp_path)
    assert checked == ["003.jpg"]  # the others were verified before
    assert len(open_source(report.directory, "val")) == 4
    assert report.images == 4
    assert not list(prepared.glob(".*.partial"))  # what was half written has gone


def test_what_an_older_version_verified_is_verified_anew(tmp_path):
    folder = write(tmp_path / "pets")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    place = hashlib.sha256(bytes(folder.resolve())).hexdigest()[:4]
    log = prepared / f".pets-{place}-val.verified.jsonl"
    log.write_text(json.dumps({"name": "003.jpg", "mtime": 1, "problem": "none today"}) + "\n")
    assert run(folder, tmp_path).images == 4
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


def spoil_all_images(folder):
    path = folder / "annotations" / "instances_val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "images": [], "annotations": []}))


@pytest.mark.parametrize(
    ("spoil", "split", "sentence"),
    [
        (spoil_json, "val", "is no complete JSON"),
        (spoil_lists, "val", r"lacks the lists \['annotations', 'categories'\]"),
        (spoil_categories, "val", "every name once"),
        (spoil_all_images, "val", "leaves no image for the split 'val'"),
        (lambda folder: None, "train", r"no split 'train'; it has \['val'\]: give --config\."),
        (lambda folder: None, "../val", "expected letters, digits and underscores"),
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
