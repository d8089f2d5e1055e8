"""Files that grow: each row whole or not there, on a full disk too."""

import json

import pytest

from tests.support.small_disk import room_for
from yolor_jax.inference.growing import GrowingLines, GrowingList


def test_what_a_full_disk_has_no_room_for_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "rows.json"
    rows = GrowingList(path, '{"images": [', "]}")
    rows.add({"file": "a"})
    with room_for(1000), pytest.raises(OSError, match=r"rows\.json"):
        rows.add(*({"file": str(number)} for number in range(1000)))
    assert json.loads(path.read_text()) == {"images": [{"file": "a"}]}
    rows.add({"file": "b"})
    assert [one["file"] for one in json.loads(path.read_text())["images"]] == ["a", "b"]


def test_lines_likewise(tmp_path):
    path = tmp_path / "rows.csv"
    lines = GrowingLines(path, "file,score")
    lines.add("a,1")
    with room_for(100), pytest.raises(OSError, match=r"rows\.csv"):
        lines.add(*["b" * 20] * 100)
    assert path.read_text() == "file,score\na,1\n"
    lines.add("c,3")
    assert GrowingLines(path).before == ["file,score", "a,1", "c,3"]


def test_no_room_for_the_first_row(tmp_path):
    with room_for(3), pytest.raises(OSError, match=r"rows\.csv"):
        GrowingLines(tmp_path / "rows.csv", "file,score")
    GrowingLines(tmp_path / "rows.csv", "file,score").add("a,1")
    assert (tmp_path / "rows.csv").read_text() == "file,score\na,1\n"
    with room_for(3), pytest.raises(OSError, match=r"rows\.json"):
        GrowingList(tmp_path / "rows.json")
    assert not (tmp_path / "rows.json").exists()
