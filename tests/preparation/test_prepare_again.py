"""Preparation that was killed, zip files, and any number of workers: the same files."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support.coco_folder import jpeg, write
from tests.support.small_folders import prepare_val
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import check_images as check_module
from yolor_jax.preparation import plan as plan_module
from yolor_jax.preparation import shards as shard_module
from yolor_jax.preparation.parallel import Workers
from yolor_jax.preparation.prepare import prepare


def zipped(folder):
    """The images of a folder in a zip file beside it."""
    path = folder / "val.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for image in sorted((folder / "val").iterdir()):
            archive.write(image, f"val/{image.name}")
    shutil.rmtree(folder / "val")
    return path


@pytest.mark.parametrize(("field", "value"), [("compress_type", 9), ("flag_bits", 1)])
def test_a_zip_that_python_cannot_unpack_is_named(tmp_path, field, value):
    """Deflate64, as the Windows Explorer packs large files, and passwords."""
    folder = write(tmp_path / "pets")
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    position = {"compress_type": (8, 10), "flag_bits": (6, 8)}[field]
    for signature, at in zip((b"PK\3\4", b"PK\1\2"), position, strict=True):
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            data[start + at] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"unpack") as caught:
        prepare_val(folder, tmp_path)
    assert "val.zip" in str(caught.value)


KILLED = """
import os, signal, sys
from yolor_jax.preparation import shards
from yolor_jax.preparation.parallel import Workers
from yolor_jax.preparation.prepare import prepare
shards.EXAMPLES_PER_SHARD = 2
add = shards._to_features
seen = []
def killed(record):
    seen.append(record)
    if len(seen) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(record)
shards._to_features = killed
prepare(sys.argv[1], "val", sys.argv[2], progress=False, workers=Workers(processes=1))
"""


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A folder whose preparation was killed in its second shard of two, and what that left."""
    folder = write(tmp_path / "pets")
    prepared = tmp_path / "prepared"
    root = pathlib.Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(folder), str(prepared)]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == -9
    assert not list(prepared.glob("pets*"))  # nothing that could be taken for whole
    (log,) = prepared.glob(".*.verified.jsonl")
    log.write_text(log.read_text() + '{"name": "00')  # as if it were killed once more
    monkeypatch.setattr(shard_module, "EXAMPLES_PER_SHARD", 2)
    return folder, prepared


def recorded(monkeypatch, module, name):
    """The last argument of each call of a function, which goes on as it was."""
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: calls.append(args[-1]) or function(*args))
    return calls


def test_killed_while_writing_goes_on_at_the_shards_that_lack(killed, tmp_path, monkeypatch):
    folder, prepared = killed
    [shard] = prepared.glob(".*.partial/[!.]*.shard")
    before = shard.read_bytes()
    checked = recorded(monkeypatch, check_module, "_check")
    written = recorded(monkeypatch, plan_module, "write_shard")
    report = prepare_val(folder, tmp_path)
    assert (checked, len(written)) == ([], 1)
    assert sorted(report.directory.glob("*array_record*"))[0].read_bytes() == before
    whole = prepare(folder, "val", tmp_path / "whole", progress=False)
    files = {path.name: path.read_bytes() for path in whole.directory.iterdir()}
    assert {path.name: path.read_bytes() for path in report.directory.iterdir()} == files


def test_what_was_written_of_another_state_is_not_used(killed, tmp_path, monkeypatch):
    folder, prepared = killed
    checked = recorded(monkeypatch, check_module, "_check")
    (folder / "val" / "003.jpg").write_bytes(jpeg(48, 64, seed=77))
    report = prepare_val(folder, tmp_path)
    assert checked == ["003.jpg"]  # the others were verified before
    assert [len(open_source(report.directory, "val")), report.images] == [4, 4]
    assert not list(prepared.glob(".*.partial"))  # what was half written has gone


@pytest.mark.parametrize("workers", [Workers(processes=2), Workers(processes=3)])
def test_any_number_of_workers_gives_the_same_files(tmp_path, monkeypatch, workers):
    folder = write(tmp_path / "pets", images=5)
    monkeypatch.setattr(shard_module, "EXAMPLES_PER_SHARD", 2)
    monkeypatch.setattr(check_module, "_PER_TASK", 2)
    monkeypatch.setattr(check_module, "_WORTH_PROCESSES", 0)
    one = prepare(folder, "val", tmp_path / "one", progress=False, workers=Workers(processes=1))
    many = prepare(folder, "val", tmp_path / "many", progress=False, workers=workers)
    files = {path.name: path.read_bytes() for path in one.directory.iterdir()}
    assert len([name for name in files if "array_record" in name]) == 3
    assert {path.name: path.read_bytes() for path in many.directory.iterdir()} == files
