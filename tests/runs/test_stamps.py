"""Who has worked on a run: what is written is read, and no run stops for want of it."""

import pytest

from yolor_jax.runs import stamps
from yolor_jax.stamp import stamp


def test_stamps_come_back(tmp_path):
    assert stamps.read(tmp_path / "gone") == []
    first = stamp()
    stamps.write(tmp_path, [first])
    stamps.write(tmp_path, [*stamps.read(tmp_path), stamp()])
    read = stamps.read(tmp_path)
    assert read[0] == first and len(read) == 2


@pytest.mark.parametrize("text", [b"", b"{", b'{"version": "0.1.0"}', b"\xff"])
def test_a_damaged_file_is_none(tmp_path, text):
    (tmp_path / stamps.FILE).write_bytes(text)
    assert stamps.read(tmp_path) == []


def test_a_file_of_weights_has_no_folder(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert stamps.read(tmp_path / "a.safetensors") == []
