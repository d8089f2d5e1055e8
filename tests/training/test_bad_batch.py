"""A bad batch comes back as it was, from one file or from the shares of several processes."""

import jax
import numpy as np
import pytest

from tests.support import tiny_run
from yolor_jax.training import bad_batch


def make(batch, ids):
    key_data = np.array([0, 7], np.uint32)
    return bad_batch.BadBatch(12, key_data, {"loss/box": float("nan"), "targets": 3.5}, ids, batch)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a._replace(terms=0), b._replace(terms=0))
    np.testing.assert_equal(a.terms, b.terms)
    assert [x.dtype for x in a.batch] == [x.dtype for x in b.batch]


def test_round_trip(tmp_path):
    bad = make(tiny_run.make_batch(4), [5, 6, 7, 8])
    path = bad_batch.save(tmp_path, bad)
    assert [p.name for p in tmp_path.iterdir()] == ["bad_batch_12.npz"]
    equal(bad_batch.load(path), bad)


def test_a_file_of_older_runs_is_read(tmp_path):
    bad = make(tiny_run.make_batch(4), [5, 6, 7, 8])
    path = bad_batch.save(tmp_path, bad)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["batch_boxes"] = arrays.pop("batch_boxes_xyxy")  # no format in the name, once
    np.savez_compressed(path, **arrays)
    equal(bad_batch.load(path), bad)


def test_shares_of_several_processes_are_one_batch(tmp_path, monkeypatch):
    whole = tiny_run.make_batch(4)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    paths = []
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        share = jax.tree.map(lambda x, i=index: x[2 * i : 2 * i + 2], whole)
        paths.append(bad_batch.save(tmp_path, make(share, [5 + 2 * index, 6 + 2 * index])))
    assert paths[1].name == "bad_batch_12.1-of-2.npz"
    for path in paths:
        equal(bad_batch.load(path), make(whole, [5, 6, 7, 8]))
    paths[0].unlink()
    with pytest.raises(FileNotFoundError, match="0-of-2"):
        bad_batch.load(paths[1])


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "bad_batch_1.npz"
    with pytest.raises(FileNotFoundError):
        bad_batch.load(path)
    np.savez(path, step=1)
    with pytest.raises(ValueError, match="no bad batch"):
        bad_batch.load(path)
    for content in (b"PK", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no bad batch"):
            bad_batch.load(path)
