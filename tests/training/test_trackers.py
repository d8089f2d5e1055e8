"""Trackers without a network: what was written is there, and a run goes on as the same one."""

import json
import pathlib
import sqlite3
import struct
import sys

import pytest

from yolor_jax.errors import InputError
from yolor_jax.training.trackers.experiment import PROJECT, Experiment, open_tracker

ROWS = {1: {"loss/box": 0.5}, 2: {"loss/box": 0.25}, 3: {"loss/box": 0.125, "eval/AP": 0.75}}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Experiment("csp", "3fa09c1b7d42", tmp_path, {"model": {"name": "yolor_csp"}, "seed": 7})


def write_in_two_parts(name, experiment):
    for steps in ((1, 2), (3,)):
        with open_tracker(name, experiment) as writer:
            for step in steps:
                writer.write(step, ROWS[step])
            writer.flush()


def records(file):
    """The records of a .wandb file: a header, then LevelDB's log in blocks of 32 KiB."""
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


@pytest.mark.long
def test_wandb(experiment):
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    write_in_two_parts("wandb", experiment)
    rows, settings = [], {}
    for file in sorted(experiment.folder.glob("wandb/offline-run-*/*.wandb")):
        for record in map(Record.FromString, records(file)):
            assert record.run.run_id in ("", experiment.identity)
            settings |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
            items = {
                one.key or "/".join(one.nested_key): json.loads(one.value_json)
                for one in record.history.item
            }
            if items:
                rows.append({k: v for k, v in items.items() if not k.startswith("_")})
    assert rows == [{"step": step, **row} for step, row in ROWS.items()]
    assert settings["model"] == {"name": "yolor_csp"} and settings["seed"] == 7


@pytest.mark.long
def test_mlflow(experiment):
    mlflow = pytest.importorskip("mlflow")
    write_in_two_parts("mlflow", experiment)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{experiment.folder}/mlflow.db")
    number = client.get_experiment_by_name(PROJECT).experiment_id
    [run] = client.search_runs([number])
    assert (run.info.run_name, run.info.status) == ("csp", "FINISHED")
    assert run.data.params == {"model.name": "yolor_csp", "seed": "7"}
    history = client.get_metric_history(run.info.run_id, "loss/box")
    assert {one.step: one.value for one in history} == {1: 0.5, 2: 0.25, 3: 0.125}


@pytest.mark.long
def test_trackio(experiment):
    pytest.importorskip("trackio")
    write_in_two_parts("trackio", experiment)
    with sqlite3.connect(experiment.folder / "trackio" / f"{PROJECT}.db") as database:
        found = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step")
        rows = {(name, step): json.loads(metrics) for name, step, metrics in found}
    name = f"csp-{experiment.identity}"
    assert rows == {(name, step): row for step, row in ROWS.items()}


def test_a_tracker_that_is_not_installed(experiment, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'yolor-jax\[wandb\]'"):
        open_tracker("wandb", experiment)


def test_a_tracker_that_there_is_not(experiment):
    with pytest.raises(InputError, match="expected one of wandb, mlflow, trackio"):
        open_tracker("comet", experiment)
    assert not list(pathlib.Path(experiment.folder).iterdir())


def test_a_tracker_that_refuses(experiment, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(experiment.folder))  # where a key could be
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(InputError, match="WANDB_MODE=offline"):
        open_tracker("wandb", experiment)
