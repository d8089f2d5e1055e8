"""What is broken in a COCO folder stops its preparation by name, or is left out and counted."""

import pytest

from tests.support.coco_folder import with_orientation, write
from tests.support.small_folders import prepare_val
from yolor_jax.data.encoded import read_header
from yolor_jax.data.sources import open_source
from yolor_jax.preparation.report import BROKEN


def break_missing(coco, images):
    (images / "002.jpg").unlink()


def break_truncated(coco, images):
    data = (images / "002.jpg").read_bytes()
    (images / "002.jpg").write_bytes(data[: len(data) // 2])


def break_truncated_with_thumbnail(coco, images):
    """The end marker of an EXIF thumbnail must not pass for the end of the image."""
    data = with_orientation((images / "002.jpg").read_bytes(), 1)
    data = data[:2] + b"\xff\xe2\x00\x06\xff\xd8\xff\xd9" + data[2:]
    assert read_header(data)[:3] == (48, 64, 1)
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
    coco["annotations"][1]["id"] = 2**63


def break_category_text(coco, images):
    coco["annotations"][1]["category_id"] = "1"


def break_crowd(coco, images):
    coco["annotations"][1]["iscrowd"] = "0"


def break_file_name(coco, images):
    coco["images"][1]["file_name"] = coco["images"][0]["file_name"]


def break_no_bbox(coco, images):
    del coco["annotations"][1]["bbox"]


@pytest.mark.parametrize(
    ("edit", "kind", "where", "images_left"),
    [
        (break_missing, "missing image", "002.jpg", 3),
        (break_truncated, "unreadable image", "002.jpg (truncated", 3),
        (break_truncated_with_thumbnail, "unreadable image", "002.jpg (truncated", 3),
        (break_no_image, "unreadable image", "002.jpg (damaged, or no image", 3),
        (break_empty_file, "unreadable image", "002.jpg (empty", 3),
        (break_size, "size differs", "JSON (50, 64), image (48, 64)", 3),
        (break_turned_size_without_exif, "size differs", "JSON (64, 48), image (48, 64)", 3),
        (break_image_id, "duplicate image id", "1 (002.jpg)", 3),
        (break_image_entry, "broken image entry", "images[1] has the id '2'", 3),
        (break_file_name, "duplicate file name", "001.jpg (id 2)", 3),
        (break_category, "unknown category id", "annotations[1] has category_id 91 (id 2)", 3),
        (break_category_text, "unknown category id", "annotations[1] has category_id '1'", 3),
        (break_image_of_annotation, "unknown image id", "annotations[1] has image_id 99 (id 2)", 4),
        (break_nan, "broken box", "annotations[1] has bbox [8.25, 6.5, nan, 16.75]", 3),
        (break_negative_width, "broken box", "-4.0", 3),
        (break_area, "broken box", "area inf", 3),
        (break_three_numbers, "broken box", "[1, 2, 3]", 3),
        (
            break_annotation_id,
            "broken annotation",
            "annotations[1] has the id 9223372036854775808",
            3,
        ),
        (break_crowd, "broken annotation", "annotations[1] has iscrowd '0'", 3),
        (break_no_bbox, "broken annotation", "annotations[1] has no bbox", 3),
    ],
)
def test_what_is_broken_stops_or_is_counted(tmp_path, edit, kind, where, images_left):
    folder = write(tmp_path / "pets", edit=edit)
    with pytest.raises(ValueError) as caught:
        prepare_val(folder, tmp_path)
    message = str(caught.value)
    assert "instances_val.json: " in message and "entries are broken" in message
    assert kind in message and BROKEN[kind] in message and where in message
    assert "Repair the data set, or leave the broken entries out with skip_broken=True" in message
    assert not list((tmp_path / "prepared").glob("pets*"))

    report = prepare_val(folder, tmp_path, skip_broken=True)
    assert report.counts[kind] == 1 and where in report.table()
    assert report.images == images_left
    assert report.annotations == 3
    truth = open_source(report.directory, "val").ground_truth()
    assert len(truth["images"]) == images_left and len(truth["annotations"]) == 3
    with pytest.raises(ValueError, match="entries are broken"):
        prepare_val(folder, tmp_path)  # what was prepared with skip_broken is not used without it
    assert prepare_val(folder, tmp_path, skip_broken=True) == report
