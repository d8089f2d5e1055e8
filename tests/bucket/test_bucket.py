"""What is done otherwise in a bucket than on a disk: small files, seals, faults."""

import json
import pathlib
import time

import jax
import numpy as np
import pytest

from tests.support import local_bucket, tiny_run
from yolor_jax import bucket
from yolor_jax.errors import InputError
from yolor_jax.paths import user_path
from yolor_jax.runs import checks, preflight
from yolor_jax.training import bad_batch, metrics
from yolor_jax.training.checkpoints import folder as folders
from yolor_jax.training.checkpoints import loading
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.processes.group import ALONE
from yolor_jax.whole_file import whole_file

META = {"model": "tiny"}


@pytest.fixture(scope="module")
def now():
    """A state of half a megabyte."""
    return tiny_run.noise(1 << 14)


@pytest.fixture
def faulty():
    """Lets the bucket fail, until the test ends."""
    yield lambda status, seconds: local_bucket.ask(f"fault?status={status}&seconds={seconds}")
    local_bucket.ask("fault?status=200&seconds=0")


def shapes(now):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), now)


def test_a_file_is_whole_or_not_there(place):
    with pytest.raises(RuntimeError), whole_file(place / "a.json") as file:
        file.write_text("half")
        raise RuntimeError
    assert not (place / "a.json").exists()
    with whole_file(place / "a.json") as file:
        file.write_text("whole")
    assert (place / "a.json").read_text() == "whole"
    [(name, known)] = bucket.objects(place).items()
    assert name == "a.json" and known.size == 5


def test_rows_come_with_a_flush_and_those_behind_the_checkpoint_go(place, monkeypatch):
    path = place / "metrics.jsonl"
    with metrics.JsonLines(path) as writer:
        writer.write(1, {"loss": 2.0})
        writer.write(2, {"loss": 1.0})
        assert not path.exists() and len(writer.rows()) == 2
        writer.flush()
        assert [row["step"] for row in metrics.read_json_lines(path)] == [1, 2]
        monkeypatch.setattr(metrics, "SECONDS_BETWEEN_COPIES", 0.0)
        writer.write(3, {"loss": 0.5})
        assert len(metrics.read_json_lines(path)) == 3
    with metrics.JsonLines(path, keep_until=2) as writer:
        writer.write(3, {"loss": 0.25})
    assert [row["loss"] for row in metrics.read_json_lines(path)] == [2.0, 1.0, 0.25]


def test_a_bad_batch_comes_back(place):
    batch = tiny_run.make_batch(4)
    bad = bad_batch.BadBatch(7, np.zeros(2, np.uint32), {"loss/total": np.nan}, [1, 2, 3, 4], batch)
    path = bad_batch.save(str(place), bad)
    assert path == place / "bad_batch_7.npz"
    loaded = bad_batch.load(str(path))
    assert loaded.image_ids == bad.image_ids
    jax.tree.map(np.testing.assert_array_equal, loaded.batch, batch)


def test_event_files_come_with_a_flush_and_are_never_large(place, monkeypatch):
    pytest.importorskip("tensorboardX")
    with metrics.TensorBoard(place) as writer:
        writer.write(1, {"loss": 1.0})
        writer.flush()
        monkeypatch.setattr(metrics, "LARGE", 0)
        writer.write(2, {"loss": 1.0})
        writer.flush()
        writer.write(3, {"loss": 1.0})
    names = sorted(bucket.objects(place))
    assert len(names) == 2 and all("tfevents" in name for name in names)


def test_damaged_checkpoints_are_known_by_their_size_and_md5_and_set_aside(place, now):
    with Checkpoints(place, META) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(step, now, position=step)
            checkpoints.score(step, {"AP": 1.0 / step})
    folder = place / "checkpoints"
    assert folders.steps(folder) == [2, 4, 6]
    data = next(n for n in json.loads((folder / "6" / "seal.json").read_text()) if "/d/" in n)
    written = (folder / "6" / data).read_bytes()
    (folder / "6" / data).write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    (folder / "4" / "data" / "metadata").unlink()
    with Checkpoints(place, META) as checkpoints:
        restored, position, said = checkpoints.restore_latest(shapes(now))
        assert position == 2
        np.testing.assert_array_equal(restored.params["leaf"], now.params["leaf"])
        assert [sentence.split(";")[0].rpartition(": ")[2] for sentence in said] == [
            f"{data} has other bytes than were written",
            "data/metadata is missing",
        ]
        checkpoints.save(4, now, position=4)
    assert folders.steps(folder) == [2, 4]
    names = {path.name for path in folder.iterdir()}
    assert names == {"2", "4", "6.damaged", "4.damaged"}


def copy(source, target):
    """Copies all files below a path to another place."""
    for path in source.iterdir():
        if path.is_dir():
            copy(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            (target / path.name).write_bytes(path.read_bytes())


def test_a_run_may_move_between_a_bucket_and_a_disk(place, now, tmp_path):
    with Checkpoints(place / "born", META) as checkpoints:
        checkpoints.save(2, now, position=2)
    copy(place / "born", tmp_path / "run")
    copy(tmp_path / "run", place / "back")
    for workdir in (place / "born", tmp_path / "run", place / "back"):
        with Checkpoints(workdir, META) as checkpoints:
            restored, _, damaged = checkpoints.restore_latest(shapes(now))
        assert not damaged
        np.testing.assert_array_equal(restored.opt_state, now.opt_state)
    with Checkpoints(tmp_path / "run", META) as checkpoints:
        checkpoints.save(3, now, position=3)
    copy(tmp_path / "run", place / "sealed-on-disk")
    variables, _ = loading.load_variables(str(place / "sealed-on-disk"), 3)
    np.testing.assert_array_equal(variables["params"]["leaf"], now.ema_params["leaf"])
    metadata = tmp_path / "run" / "checkpoints" / "2" / "data" / "metadata"
    metadata.write_bytes(metadata.read_bytes().replace(b"2", b"3"))
    with pytest.raises(OSError, match="data/metadata has other bytes"):
        loading.load_variables(tmp_path / "run", 2)


@pytest.mark.parametrize("seconds", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_bucket_that_is_busy_for_a_while_costs_a_retry(place, now, faulty, monkeypatch, seconds):
    with Checkpoints(place, META) as checkpoints:
        faulty(503, seconds)
        checkpoints.save(2, now, position=2)  # the probe is refused
        checkpoints.wait()
        monkeypatch.setattr(bucket, "require_writable", lambda folder: faulty(503, seconds))
        checkpoints.save(4, now, position=4)  # the writing is
        checkpoints.wait()
        faulty(503, seconds)
        _, position, damaged = checkpoints.restore_latest(shapes(now))
    assert position == 4 and not damaged


def test_a_forbidden_bucket_is_a_sentence(place, now, faulty):
    with Checkpoints(place, META) as checkpoints:
        checkpoints.save(2, now, position=2)
        checkpoints.wait()
        faulty(403, 1000)
        started = time.monotonic()
        with pytest.raises(OSError, match=r"step 4 could not be .* step 2 is intact"):
            checkpoints.save(4, now, position=4)
        with pytest.raises(OSError, match=r"cannot be .*Forbidden"):
            checkpoints.restore_latest(shapes(now))
    for refused in (
        lambda: Checkpoints(place, META),
        lambda: loading.load_variables(place),
        lambda: preflight.require_writable(place, ALONE),
        lambda: metrics.JsonLines(place / "metrics.jsonl"),
    ):
        with pytest.raises(OSError, match=r"cannot be used .*Forbidden"):
            refused()
    assert checks.room(place, None).verdict == "fail"
    assert time.monotonic() - started < 30
    assert not pathlib.Path("gs:").exists()


def test_forbidden_in_the_middle_of_a_save(place, now, faulty, monkeypatch):
    """The probe before it says nothing then."""
    with Checkpoints(place, META) as checkpoints:
        checkpoints.save(2, now, position=2)
        checkpoints.wait()
        monkeypatch.setattr(bucket, "require_writable", lambda folder: faulty(403, 1000))
        started = time.monotonic()
        with pytest.raises(OSError, match=r"step 4 could not be .* step 2 is intact"):
            checkpoints.save(4, now, position=4)
            checkpoints.wait()
        assert time.monotonic() - started < 30
    faulty(200, 0)
    with Checkpoints(place, META) as checkpoints:
        assert checkpoints.restore_latest(shapes(now))[1] == 2


@pytest.mark.parametrize("name", ["a b", "a[1]", "a*", "caf\u00e9"])
def test_a_path_that_checkpoints_would_not_survive(place, name):
    with pytest.raises(InputError, match="expected letters, digits"):
        Checkpoints(place / name, META)
    with pytest.raises(InputError, match="expected letters, digits"):
        preflight.require_writable(place / name, ALONE)


def test_a_bucket_that_is_not_there():
    with pytest.raises(OSError, match="is not there, or its bucket"):
        bucket.require_writable(user_path("gs://no-such-bucket/run"))
