"""Films of MOTChallenge: frames, objects and identities as they come out, and what is wrong."""

import cv2
import numpy as np
import pytest

from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import formats, mot, prepare

OBJECTS = """\
1,1,11,21,20,10,1,1,0.9
2,1,13.5,21,20,10,1,1,1
2,7,41,31,10,12,1,1,0.5
2,8,1,1,5,5,0,8,1
"""


def sequence(folder, objects=OBJECTS, frames=3, digits=6):
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    for frame in range(1, frames + 1):
        image = np.full((64, 80, 3), 20 * frame, np.uint8)
        cv2.imwrite(str(folder / "img1" / f"{frame:0{digits}d}.jpg"), image)
    (folder / "gt" / "gt.txt").write_text(objects)
    info = f"[Sequence]\nname={folder.name}\nimDir=img1\nseqLength={frames}\nimExt=.jpg\n"
    (folder / "seqinfo.ini").write_text(info)


def made(folder, split, **settings):
    return prepare.prepare(folder, split, folder.parent / "made", progress=False, **settings)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mot") / "MOT17"
    for name in ("MOT17-02-DPM", "MOT17-02-FRCNN", "MOT17-04-DPM"):
        sequence(folder / "train" / name)
    (folder / "test" / "MOT17-01-DPM" / "img1").mkdir(parents=True)
    (folder / "test" / "MOT17-01-DPM" / "seqinfo.ini").write_text("[Sequence]\n")
    assert formats.of(folder) is mot and mot.find_splits(folder) == ["train"]
    assert mot.recognises(folder) == "train/MOT17-02-DPM/gt/gt.txt"
    return made(folder, "train")


def test_frames_boxes_and_identities(report):
    source = open_source(report.directory, "train")
    assert source.class_names == ("pedestrian",)
    assert [source.name(i) for i in range(6)] == [
        f"{name}/img1/{frame:06d}.jpg"
        for name in ("MOT17-02-DPM", "MOT17-04-DPM")
        for frame in (1, 2, 3)
    ]
    assert source[1].boxes_xyxy.tolist() == [[12.5, 20, 32.5, 30], [40, 30, 50, 42]]
    # An id is of its sequence alone.
    assert [source[i].identity.tolist() for i in range(6)] == [[0], [0, 1], [], [2], [2, 3], []]


def test_frames_with_other_digits_are_those_of_the_same_number(tmp_path):
    sequence(tmp_path / "dance" / "one", digits=8)
    report = made(tmp_path / "dance", mot.WHOLE)
    source = open_source(report.directory, mot.WHOLE)
    assert source.name(1) == "one/img1/00000002.jpg"
    assert [len(source[i].identity) for i in range(3)] == [1, 2, 0]


def test_what_is_left_out_is_counted(report):
    assert report.counts["sequence of another detector"] == 1
    assert report.counts["object not to be considered"] == 2
    assert report.broken == 0


def test_sequences_without_a_split_and_classes_by_name(tmp_path):
    folder = tmp_path / "films"
    sequence(folder / "street", "1,3,1,1,9,9,1,2,1\n2,3,4,4,9,9,1,2,1\n")
    (folder / "street" / "gt" / "labels.txt").write_text("person\ncar\n")
    source = open_source(made(folder, "train").directory, "train")
    assert source.class_names == ("person", "car")
    assert source[0].labels.tolist() == [1] and source[1].identity.tolist() == [0]


def test_a_class_that_is_not_there_is_broken(tmp_path):
    sequence(tmp_path / "films" / "one", OBJECTS + "3,9,1,1,9,9,1,4,1\n")
    with pytest.raises(InputError, match=r"gt.txt, line 5: class 4; expected 1 .. 1"):
        made(tmp_path / "films", "train")


@pytest.mark.parametrize("line", ["1,1,2,3", "1,x,2,3,4,5,1", "1;1;2;3;4;5;1"])
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    sequence(tmp_path / "films" / "one", f"{OBJECTS}{line}\n")
    with pytest.raises(InputError, match=r"gt.txt, line 5: got .*expected frame, id, left"):
        made(tmp_path / "films", "train")


def test_an_object_twice_in_a_frame_is_broken(tmp_path):
    sequence(tmp_path / "films" / "one", OBJECTS + "2,7,1,1,9,9,1,1,1\n")
    with pytest.raises(InputError, match="identity 1 is twice in image 2"):
        made(tmp_path / "films", "train")


def test_a_damaged_seqinfo_is_named(tmp_path):
    sequence(tmp_path / "films" / "one")
    (tmp_path / "films" / "one" / "seqinfo.ini").write_text("imDir=img1\n")
    with pytest.raises(InputError, match=r"seqinfo.ini is damaged .*\[Sequence\]"):
        made(tmp_path / "films", "train")
