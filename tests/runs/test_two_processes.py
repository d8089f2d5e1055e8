"""Two processes of four devices train, evaluate, stop and continue like one process of eight."""

import json
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from tests.support import launching
from yolor_jax.preparation import shapes
from yolor_jax.runs import replay
from yolor_jax.training import bad_batch
from yolor_jax.training.checkpoints.loading import load_variables
from yolor_jax.training.metrics import read_json_lines
from yolor_jax.training.window import CLOCK_METRICS

pytestmark = pytest.mark.long

STEPS = 4  # two epochs of 20 // 8 steps
IMAGES = 13  # to evaluate on: no multiple of anything


class Runs:
    """Runs of one recipe on one data set, in one process or in two."""

    def __init__(self, folder):
        self.folder = folder
        sizes = {"train": 20, "validation": IMAGES}
        self.data = shapes.prepare(folder / "data", sizes=sizes, progress=False)

    def start(self, script, name, *flags, processes):
        command = [str(launching.ROOT / script), f"--workdir={self.folder / name}", *flags]
        devices = [8] if processes == 1 else None
        return launching.start([command] * processes, devices=devices)

    def start_training(self, name, *flags, processes):
        return self.start(
            "train_main.py", name, "--config.model.name=yolor_test", "--config.image_size=64",
            "--config.batch_size=8", "--config.epochs=2", "--config.log_every=1",
            "--config.eval.batch_size=8", "--config.eval.every_epochs=1",
            "--config.optim.learning_rate=0.002",
            "--config.augment.mosaic=1.0", "--config.augment.partners=dataset",
            "--config.augment.group=1",
            f"--config.data.path={self.data}", *flags, processes=processes,
        )  # fmt: skip

    def train(self, name, *flags, processes):
        return require_done(self.start_training(name, *flags, processes=processes))

    def await_lines(self, name, count, started):
        """Returns when a run has written so many lines of metrics."""
        path = self.folder / name / "metrics.jsonl"
        while not path.is_file() or path.read_text().count("\n") < count:
            assert all(process.poll() is None for process in started)
            time.sleep(0.02)

    def rows(self, name):
        return read_json_lines(self.folder / name / "metrics.jsonl")

    def detections(self, name):
        return json.loads((self.folder / name / "detections.json").read_text())


def words(text):
    return set(re.findall("[A-Za-z]+", text))


# What the CPU's collectives print from several threads at once, their lines mixed.
GLOO = words(
    "[Gloo] Rank 0 is connected to 1 peer ranks. Expected number of connected peer ranks is"
)


def require_done(processes):
    ended = launching.finish(processes)
    for code, _, errors in ended:
        assert code == 0, errors
    for _, out, errors in ended[1:]:
        assert words(out) <= GLOO, "only the first speaks"
        assert "step" not in errors, "only the first shows a bar"
    return ended


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("runs"))
    runs.train("one", processes=1)
    return runs


@pytest.fixture(scope="module")
def two(runs):
    """A run of two processes, with a state that is cut."""
    return runs.train("two", "--config.mesh.fsdp=2", processes=2)


def require_like_one(runs, name):
    """The losses to 1e-6, the evaluation too, and each step once in one file."""
    rows, expected = runs.rows(name), runs.rows("one")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() - CLOCK_METRICS == other.keys() - CLOCK_METRICS
        for key in other:
            if key.startswith(("loss/", "eval/")):
                assert row[key] == pytest.approx(other[key], abs=1e-6), key
    found, wanted = runs.detections(name), runs.detections("one")
    assert [d["image_id"] for d in found] == [d["image_id"] for d in wanted]
    (ours, _), (theirs, _) = (load_variables(runs.folder / n) for n in (name, "one"))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # noqa: E731
    jax.tree.map(close, ours, theirs)


def test_two_processes_train_like_one(runs, two):
    require_like_one(runs, "two")
    assert "Next:" in two[0][1]
    files = lambda name: sorted(  # noqa: E731
        str(p.relative_to(runs.folder / name)) for p in (runs.folder / name).glob("*/*")
    )
    assert files("two") == files("one")


def test_two_processes_evaluate_like_one(runs, two):
    [folder] = (runs.folder / "two" / "evaluations").iterdir()
    shutil.rmtree(folder)
    (_, out, _), _ = require_done(runs.start("eval_main.py", "two", "--folded", processes=2))
    assert f"{IMAGES} images of" in out
    found = json.loads((folder / "detections.json").read_text())
    wanted = runs.detections("one")
    assert [d["image_id"] for d in found] == [d["image_id"] for d in wanted]
    scores = [[d["score"] for d in boxes] for boxes in (found, wanted)]
    np.testing.assert_allclose(*scores, atol=1e-6)


def test_sigterm_to_one_process_saves_one_step_of_all_and_one_process_goes_on(runs, two):
    config = runs.folder / "parts" / "config.json"
    started = runs.start_training("parts", "--config.mesh.fsdp=2", processes=2)
    while not config.is_file():
        assert started[0].poll() is None
        time.sleep(0.1)
    started[1].send_signal(signal.SIGTERM)
    (_, out, _), _ = require_done(started)
    # The first question comes before step 1, and its answer two questions later: see any_process.
    assert "stopped by SIGTERM: step 2 is saved" in out
    ((_, out, _),) = runs.train("parts", processes=1)
    assert "continuing at step 2 of 4" in out
    require_like_one(runs, "parts")


def test_two_processes_that_are_killed_go_on_like_one(runs, two):
    """While they train, evaluate or save; the third line comes when step 1 is on disk."""
    flags = ("--config.mesh.fsdp=2", "--config.checkpoint_every=1")
    started = runs.start_training("killed", *flags, processes=2)
    runs.await_lines("killed", 3, started)
    for process in started:
        process.kill()
    assert [code for code, _, _ in launching.finish(started)] == [-signal.SIGKILL] * 2
    (_, out, _), _ = runs.train("killed", *flags, processes=2)
    assert re.search(r"continuing at step [1-3] of 4", out)
    require_like_one(runs, "killed")


def test_sigterm_to_a_process_on_its_own_saves_and_two_go_on(runs):
    (started,) = runs.start_training("alone", processes=1)
    runs.await_lines("alone", 1, [started])
    started.send_signal(signal.SIGTERM)
    ((_, out, _),) = require_done([started])
    (step,) = re.findall(r"stopped by SIGTERM: step (\d) is saved", out)
    (_, out, _), _ = runs.train("alone", "--config.mesh.fsdp=2", processes=2)
    assert f"continuing at step {step} of 4" in out
    require_like_one(runs, "alone")


def test_each_process_keeps_its_part_of_a_bad_batch_and_one_replays_all(runs):
    name, flags = "diverged", ("--config.optim.learning_rate=1e30",)
    flags += ("--config.optim.warmup_min_steps=0",)
    ended = launching.finish(runs.start_training(name, *flags, processes=2))
    paths = [runs.folder / name / f"bad_batch_2.{index}-of-2.npz" for index in range(2)]
    for (code, _, errors), path in zip(ended, paths, strict=True):
        assert code == 2 and "Traceback" not in errors, errors
        assert "training stopped at step 2, whose loss or gradient is not finite" in errors
        assert f"yolor doctor --replay {path}." in errors
    assert not any((runs.folder / name / "checkpoints").iterdir()), "nothing of it is saved"
    bad = bad_batch.load(paths[1])
    assert len(bad.image_ids) == len(bad.batch.image) == 8 * 4  # with partners from the data set
    said = replay.describe(replay.replay(paths[1]))
    for place, image_id in enumerate(bad.image_ids[::4]):
        assert re.search(rf"^\s+{place}\s+{image_id}\s", said, re.MULTILINE)
    assert "replayed with the parameters of the start" in said
