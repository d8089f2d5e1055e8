"""Runs in processes of their own, here by a program that only leaves what a run leaves."""

import itertools
import json
import subprocess
import sys
import threading
import time

import pytest

from tests.support.planned import planned
from yolor_jax.ablation import training

PROGRAM = """
import json, os, pathlib, signal, sys, time
folder, recipe, does = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
folder.mkdir(parents=True, exist_ok=True)
(folder / "config.json").write_text(recipe)
(folder / "began").write_text(json.dumps([time.monotonic(), os.environ.get("PLACE", "")]))
if does == "interrupt":
    os.kill(os.getpid(), signal.SIGINT)
if does == "fail":
    sys.exit("half a step\\nyolor train: no such data")
if does == "crash":
    os.abort()
if does == "wait":
    time.sleep(600)
time.sleep(0.2)
(folder / "pictures").mkdir()
(folder / "pictures" / "validation.png").touch()
"""
COMMAND = ("-c", PROGRAM)


def run(folder, seed, does="finish"):
    one = planned(folder, seed=seed)
    recipe = json.dumps(one.recipe.to_dict())
    return one._replace(train=[str(one.workdir), recipe, does])


def test_what_fails_is_named_and_the_others_go_on(tmp_path):
    plan = [run(tmp_path, seed, does) for seed, does in enumerate(["fail", "crash", "finish"])]
    done = {one.planned.seed: one for one in training.train_all(plan, COMMAND, [{}])}
    assert done[0].failure == "yolor train: no such data"
    assert done[1].failure == "ended by signal 6"
    assert done[2].failure is None
    assert done[0].log.read_text() == "half a step\nyolor train: no such data\n"
    assert done[0].log == tmp_path / "baseline" / "seed0.log"


def test_a_folder_of_another_run_fails_alone(tmp_path):
    other = run(tmp_path, 0)
    other = other._replace(recipe=other.recipe.with_changes(epochs=9.0))
    done = [*training.train_all([other, run(tmp_path, 1)], COMMAND, [{}])]
    assert "holds a run with epochs = 2.0" in done[0].failure and done[1].failure is None


def test_ctrl_c_ends_no_run_before_the_ablation_does(tmp_path):
    """A terminal interrupts its whole process group, and a run would not save."""
    [done] = training.train_all([run(tmp_path, 0, "interrupt")], COMMAND, [{}])
    assert done.failure is None


def test_each_place_has_one_run_at_a_time(tmp_path):
    plan = [run(tmp_path, seed) for seed in range(4)]
    places = [{"PLACE": "a"}, {"PLACE": "b"}]
    assert all(one.failure is None for one in training.train_all(plan, COMMAND, places))
    began = [json.loads((one.workdir / "began").read_text()) for one in plan]
    for name in "ab":
        times = sorted(when for when, place in began if place == name)
        assert times and all(later - earlier > 0.2 for earlier, later in itertools.pairwise(times))


def test_a_stop_ends_what_runs_and_begins_nothing(tmp_path):
    plan = [run(tmp_path, 0, "wait"), run(tmp_path, 1)]
    began = plan[0].workdir / "began"
    started = time.monotonic()
    done = [*training.train_all(plan, COMMAND, [{}], stop=began.exists)]
    assert time.monotonic() - started < 60
    assert [one.failure for one in done] == ["stopped", "stopped"]
    assert not plan[1].workdir.exists()


def test_an_interrupt_leaves_no_process(tmp_path):
    def interrupt():
        if (plan[0].workdir / "began").exists():
            raise KeyboardInterrupt
        return False

    plan = [run(tmp_path, 0, "wait")]
    before = threading.active_count()  # a test before may have left some
    with pytest.raises(KeyboardInterrupt):
        [*training.train_all(plan, COMMAND, [{}], stop=interrupt)]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("counted", "chosen", "places"),
    [
        ("cpu 8", None, [{}]),
        ("gpu 1", None, [{}]),
        ("gpu 2", None, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        ("gpu 2", "3,5", [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]),
        ("tpu 4", None, [{}]),
        ("", None, [{}]),
    ],
)
def test_devices(counted, chosen, places, monkeypatch):
    def count(*_, **__):
        return subprocess.CompletedProcess([], 0, f"{counted}\n")

    monkeypatch.setattr(subprocess, "run", count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert training.devices() == places


@pytest.mark.long
def test_runs_on_a_cluster(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
    plan = [run(tmp_path, 0), run(tmp_path, 1, "fail")]
    done = {
        one.planned.seed: one.failure for one in training.train_on_cluster(plan, COMMAND, "local")
    }
    assert done == {0: None, 1: "yolor train: no such data"}
