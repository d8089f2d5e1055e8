"""Sums and counts by hand; rows that survive kills and restarts."""

import json
import math
import os

import numpy as np
import pytest

from yolor_jax.training import metrics


def test_merge_and_compute():
    a = {"loss": (np.float32(3.0), np.float32(2.0)), "only_a": (1.0, 1.0)}
    b = {"loss": (5.0, 2), "only_b": (0.0, 0.0)}
    merged = metrics.merge(a, b)
    assert merged == {"loss": (8.0, 4.0), "only_a": (1.0, 1.0), "only_b": (0.0, 0.0)}
    values = metrics.compute(merged)
    assert values["loss"] == 2.0 and values["only_a"] == 1.0 and math.isnan(values["only_b"])
    assert metrics.merge({}, {}) == metrics.compute({}) == {}


def test_rows_are_on_disk_at_once_and_exact(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    value = float(np.float32(0.1) / np.float32(3.0))
    with metrics.JsonLines(path) as writer:
        writer.write(1, {"loss": value})
        assert metrics.read_json_lines(path) == [{"step": 1, "loss": value}]


def test_restart_drops_later_rows_and_a_row_that_was_cut_off(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with metrics.JsonLines(path) as writer:
        for step in (5, 10, 15):
            writer.write(step, {"loss": 1.0 / step})
    kept = path.read_text().split("\n")[:2]
    path.write_text(path.read_text() + '{"step": 20, "lo')
    assert [row["step"] for row in metrics.read_json_lines(path)] == [5, 10, 15]
    with metrics.JsonLines(path, keep_until=10) as writer:
        assert path.read_text().split("\n")[:-1] == kept
        writer.write(15, {"loss": 7.0})
    assert [row["step"] for row in metrics.read_json_lines(path)] == [5, 10, 15]
    with metrics.JsonLines(path):
        pass
    assert metrics.read_json_lines(path) == []


def test_lines_of_one_step_are_one_row(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with metrics.JsonLines(path) as writer:
        writer.write(5, {"loss": 1.0})
        for _ in range(2):  # the second by a run that was killed between its row and its score
            writer.write(5, {"eval/AP": 0.5})
        writer.write(6, {"loss": 2.0})
    rows = [{"step": 5, "loss": 1.0, "eval/AP": 0.5}, {"step": 6, "loss": 2.0}]
    assert metrics.read_json_lines(path) == rows
    metrics.JsonLines(path, keep_until=6).__exit__()
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows


def test_a_full_disk_is_named(tmp_path):
    with metrics.JsonLines(tmp_path / "metrics.jsonl") as writer:
        writer._file.close()
        writer._file = open("/dev/full", "w")
        with pytest.raises(OSError, match=r"cannot write to .*metrics.jsonl: .*No space left"):
            writer.write(1, {"loss": 1.0})
        writer._file = open(os.devnull, "w")


def test_a_broken_file_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nno\n{"step": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not JSON"):
        metrics.JsonLines(path)
    assert json.loads(path.read_text().split("\n")[0]) == {"step": 1}


def test_tensorboard_writes_and_names_the_extra(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    with metrics.TensorBoard(tmp_path / "events") as writer:
        writer.write(3, {"loss/box": 0.5})
    assert any((tmp_path / "events").iterdir())
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"yolor-jax\[report\]"):
        metrics.TensorBoard(tmp_path)


@pytest.mark.parametrize("line", ["[]", "3", '{"loss": 1.0}', '{"step": "5"}'])
def test_a_line_that_is_no_row_is_refused(line, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is no row of a training run"):
        metrics.read_json_lines(path)
