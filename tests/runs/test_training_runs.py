"""The two main files' work from end to end, on the smallest network, and what wrong input gets."""

import errno
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import cv2
import jax
import numpy as np
import pytest

from tests.support import coco_folder
from tests.support.event_files import events
from tests.support.small_recipe import evaluate, small_recipe, train, typed
from yolor_jax.cli import train as command
from yolor_jax.cli.main import main
from yolor_jax.configs import base
from yolor_jax.data.image_weights import WeightedOrder, image_weights
from yolor_jax.data.objects import all_objects
from yolor_jax.data.pipeline import train_batches
from yolor_jax.errors import MENDABLE, InputError
from yolor_jax.models.implicits import distances, find
from yolor_jax.preparation import shapes
from yolor_jax.runs import batches, programs, recipe, training
from yolor_jax.runs.opening import load
from yolor_jax.runs.sources import open_sources
from yolor_jax.training import bad_batch
from yolor_jax.training.checkpoints.checkpoint import Checkpoints
from yolor_jax.training.checkpoints.loading import load_meta, load_variables
from yolor_jax.training.metrics import read_json_lines
from yolor_jax.training.window import CLOCK_METRICS

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A TFDS directory with a few shapes."""
    sizes = {"train": 20, "validation": 10}
    return shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture
def config(data):
    config = small_recipe(data)
    config.optim.learning_rate = 0.002
    return config


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A finished run."""
    config = small_recipe(data)
    config.optim.learning_rate = 0.002
    workdir = tmp_path_factory.mktemp("run")
    train(config, workdir)
    return workdir


def rows(workdir):
    """What a run wrote, but for its speed."""
    written = read_json_lines(workdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in CLOCK_METRICS} for row in written]


def test_a_run_leaves_what_it_says(finished, data):
    written = rows(finished)
    assert [row["step"] for row in written] == [1, 2, 3, 4]  # 20 // 8 steps an epoch, two epochs
    assert all(np.isfinite(row["loss/total"]) for row in written)
    assert [row["step"] for row in written if "eval/AP50" in row] == [2, 4]
    moved = [row for row in written if "implicit/head/level2/implicit_after" in row]
    assert [row["step"] for row in moved] == [2, 4]
    trained = load(finished)
    last = {name: moved[-1][f"implicit/{name}"] for name in find(trained.variables["params"])}
    assert last == distances(trained.spec, trained.variables["params"])
    sheet = cv2.imread(str(finished / "pictures" / "validation.png"))
    assert sheet is not None
    assert (
        len(list((finished / "pictures").glob("*.png"))) == 1 + 10 + 1
    )  # sheet, images, augmented
    assert json.loads((finished / "config.json").read_text())["data"]["path"] == str(data)
    assert cv2.imread(str(finished / "curves.png")) is not None
    [made_by] = json.loads((finished / "stamp.json").read_text())
    assert (made_by["version"], made_by["device"]) == ("0.1.0", "cpu")
    assert load_meta(finished)["stamps"] == [made_by]


def test_the_same_command_again_has_nothing_left_to_train(finished, config, tmp_path, capsys):
    config.eval.batch_size = 16  # how to evaluate may change on the way
    config.data.path = str(shutil.copytree(config.data.path, tmp_path / "moved"))
    starts = len(json.loads((finished / "stamp.json").read_text()))
    train(config, finished)
    out = capsys.readouterr().out
    assert len(json.loads((finished / "stamp.json").read_text())) == starts + 1
    assert "continuing at step 4 of 4" in out
    assert " programs compiled in " in out
    assert "Next:" in out


def test_a_disk_that_is_full_takes_no_number_away(finished, config, monkeypatch, capsys):
    def full(path, evaluation):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(training, "write_detections", full)
    with pytest.raises(OSError, match="No space left"):
        train(config, finished)
    assert "AP50   IoU 0.50       all" in capsys.readouterr().out


def test_an_interrupted_run_continues_to_the_bit(finished, config, tmp_path, monkeypatch, capsys):
    config.checkpoint_every = 1

    def interrupted(*args, **settings):
        yield from itertools.islice(train_batches(*args, **settings), 3)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batches, "train_batches", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path)
    train(config, tmp_path)
    assert "continuing at step 3 of 4" in capsys.readouterr().out
    assert rows(tmp_path) == rows(finished)
    position = (tmp_path / "checkpoints" / "4" / "data" / "metadata").read_text()
    assert json.loads(position) == {"position": 32}
    (parts, _), (whole, _) = load_variables(tmp_path), load_variables(finished)
    jax.tree.map(np.testing.assert_array_equal, parts, whole)


@pytest.mark.long
def test_sigterm_saves_and_says_how_to_continue_to_the_bit(
    finished, config, tmp_path, monkeypatch, capsys
):
    def preempted(*args, **settings):
        for step, batch in enumerate(train_batches(*args, **settings), start=1):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(sys, "argv", ["train_main.py", "--workdir=runs/a b"])
    with monkeypatch.context() as patch:
        patch.setattr(batches, "train_batches", preempted)
        train(config, tmp_path)
    out = capsys.readouterr().out
    assert f"stopped by SIGTERM: step 3 is saved in {tmp_path}" in out
    assert out.endswith("  python train_main.py '--workdir=runs/a b'\n")
    train(config, tmp_path)
    assert "continuing at step 3 of 4" in capsys.readouterr().out
    assert rows(tmp_path) == rows(finished)
    whole, parts = load_variables(finished)[0], load_variables(tmp_path)[0]
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


@pytest.mark.long
def test_order_workers_tensorboard_and_a_bad_batch(config, tmp_path, monkeypatch):
    """Of a run whose third step is not finite: what was read, what is shown, and what is kept."""
    pytest.importorskip("tensorboardX")
    config.data.image_weights, config.data.workers = True, 1
    config.tensorboard = True
    make_step, given = programs.make_step, []

    def make(*args, **settings):
        step = make_step(*args, **settings)

        def watched(state, batch, key):
            given.append(jax.device_get(batch))
            assert len(multiprocessing.active_children()) == 1
            state, metrics = step(state, batch, key)
            if len(given) == 3:
                metrics["loss/box"] = (metrics["loss/box"][0] * np.inf, metrics["loss/box"][1])
            return state, metrics

        return watched

    monkeypatch.setattr(programs, "make_step", make)
    with pytest.raises(FloatingPointError, match=r"stopped at step 3, .* checkpoint of step 2"):
        train(config, tmp_path)
    source = open_sources(typed(config).data).train
    order = WeightedOrder(image_weights(all_objects(source), 6), config.seed)
    read = [int(position) for batch in given for position in batch.index]
    assert read[:24] == [order[i] for i in range(24)]
    kept = bad_batch.load(tmp_path / "bad_batch_3.npz")
    jax.tree.map(np.testing.assert_array_equal, kept.batch, given[2])
    assert kept.image_ids == [source.image_ids[order[i]] for i in range(16, 24)]
    tags = {(tag, step) for tag, step, _ in events(tmp_path / "tensorboard")}
    assert {("augmented", 0), ("predictions", 2), ("eval/AP", 2)} <= tags
    assert {("loss/box", 1), ("loss/box", 2)} <= tags
    assert any(tag.startswith("implicit/") and step == 2 for tag, step in tags)


def test_the_folded_network_has_the_same_numbers(finished):
    trained, folded = evaluate(finished), evaluate(finished, folded=True)
    assert len(trained.results) == len(folded.results)
    for name, value in trained.metrics.items():
        assert folded.metrics[name] == pytest.approx(value, abs=1e-6)


def test_a_file_of_weights_has_the_numbers_of_its_run(finished, data, tmp_path, capsys):
    folded = tmp_path / "folded.safetensors"
    assert main(["fold", str(finished), str(folded)]) == 0
    assert main(["eval", "--workdir", str(finished), "--folded"]) == 0
    want = capsys.readouterr().out.partition("AP ")[2]
    words = ["--data", str(data), "--split", "validation", "--image_size=64"]
    assert main(["eval", f"--checkpoint={folded}", *words]) == 0
    got = capsys.readouterr().out.partition("AP ")[2]
    numbers = re.compile(r"[0-9.]+\n|-\n")
    assert numbers.findall(got) == numbers.findall(want) and len(numbers.findall(got)) > 10
    [evaluation] = (tmp_path / "folded.evaluations").iterdir()
    assert (evaluation / "detections.json").is_file()


def test_a_run_from_before_a_setting_existed_still_opens(finished, tmp_path):
    settings = json.loads((finished / "config.json").read_text())
    del settings["data"]["workers"], settings["multi_scale"], settings["close_mosaic"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "checkpoints").symlink_to(finished / "checkpoints")
    assert evaluate(tmp_path).metrics == evaluate(finished).metrics


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 0.5}, r"run/optim/learning_rate is 0.002 there and 0.5 here.*workdir"),
        ({"freeze": "^head/"}, r"run/optim/freeze is '' there and '\^head/' here.*workdir"),
    ],
)
def test_a_workdir_of_another_config_is_refused(finished, config, change, sentence):
    stamps = (finished / "stamp.json").read_text()
    before = sorted(finished.rglob("*"))
    config.optim.update(change)
    with pytest.raises(InputError, match=sentence):
        train(config, finished)
    assert sorted(finished.rglob("*")) == before
    assert (finished / "stamp.json").read_text() == stamps


def test_a_workdir_of_other_images_is_refused(finished, config, tmp_path):
    sizes = {"train": 20, "validation": 10}
    other = shapes.prepare(tmp_path, sizes=sizes, seed=1, progress=False)
    config.data.path = str(other)
    with pytest.raises(InputError, match=r"train_digest is '\w+' there and '\w+' here.*workdir"):
        train(config, finished)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": {"path": "nowhere"}}, "nowhere"),
        ({"image_size": 100}, "side 100 is not a multiple of the largest stride 32; use 96 or 128"),
        ({"model": {"name": "yolor_tset"}}, "no model 'yolor_tset'; did you mean 'yolor_test'"),
        ({"model": {"implicit": {"neck": "add"}}}, "no place of implicit knowledge 'neck'; expect"),
        ({"model": {"implicit": "{'alignment': null}"}}, "expected a Python dict such as"),
        ({"multi_scale": (64, 100)}, "side 100 is not a multiple of the largest stride 32; use 96"),
        (
            {"multi_scale": (64, "96")},
            r"multi_scale is \(64, '96'\); expected a list of whole",
        ),
        ({"remat": "stage9"}, "'stage9', which is found in no block of yolor_test; expected a reg"),
        ({"batch_size": 64}, "has 20 images, fewer than one batch of 64"),
        ({"batch_size": 12}, "12 is not a multiple of the 8 devices"),
        ({"data": {"train_split": "trian"}}, "trian"),
        ({"optim": {"optimizer": "lion"}}, "optimizer is 'lion': expected one of"),
        ({"augment": {"hue": 3.0}}, "hue"),
        ({"optim": {"freeze": "^bakbone"}}, r"'\^bakbone', which matches no parameter; exp"),
        ({"optim": {"freeze": "("}}, "which is no regular expression"),
        ({"batch_size": 0}, "--config.batch_size is 0; expected more than 0"),
        ({"mesh": {"fsdp": 3}}, "fsdp is 3, .* 8 devices: use one of"),
        ({"batch_norm": "sync"}, "batch_norm is 'sync'; expected global or device"),
        ({"eval": {"backend": "pycoco"}}, "eval.backend is 'pycoco'; expected one of faster-coco"),
        ({"eval": {"best_by": "AP99"}}, "eval.best_by is 'AP99'; expected one of AP, AP50, "),
        ({"eval": {"nms": {"max_detections": 0}}}, "max_detections=0.*sizes of 1 or more"),
        ({"eval": {"nms": {"iou_threshold": 4.0}}}, r"iou_threshold=4.0.*expected thresholds of 0"),
        ({"epochs": float("nan")}, "--config.epochs is nan; expected a finite number"),
        ({"epochs": 0.1}, r"epochs is 0.1, and an epoch has 2 steps; expected at least 0.5, one"),
        ({"optim": {"weight_decay": float("inf")}}, "weight_decay is inf; expected a finite"),
        ({"optim": {"momentum": 1.5}}, "momentum is 1.5: expected 0 to 1"),
        ({"data": {"first": -4}}, "--config.data.first is -4; expected 0 or more"),
        ({"close_mosaic": -1.0}, "--config.close_mosaic is -1.0; expected 0 or more"),
        ({"init": "gone.safetensors"}, "no such file or folder: .*gone.safetensors"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_wrong_settings_get_a_sentence(config, tmp_path, changes, sentence):
    config.update(changes)
    with pytest.raises(MENDABLE, match=sentence):
        train(config, tmp_path / "run")


@pytest.mark.parametrize("error", [FloatingPointError, OSError])
def test_what_ends_a_run_is_a_sentence(finished, tmp_path, monkeypatch, capsys, error):
    def end(*args, **kwargs):
        raise error("training stopped at step 3")

    monkeypatch.setattr(command, "train", end)
    assert main(["train", "--workdir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "yolor train: training stopped at step 3\n"


def test_a_last_checkpoint_that_fails_while_it_is_awaited_is_heard_of(
    config, tmp_path, monkeypatch
):
    class Failing(Checkpoints):
        def __exit__(self, *error):
            super().__exit__(*error)
            raise OSError("the checkpoint of step 4 could not be written")

    monkeypatch.setattr(training, "Checkpoints", Failing)
    monkeypatch.setattr(training.loop, "train", lambda state, *_, **rest: state)
    with pytest.raises(OSError, match="step 4 could not be written"):
        train(config, tmp_path / "run")


def test_evaluating_a_folder_without_a_run(tmp_path, capsys):
    assert main(["eval", "--workdir", str(tmp_path)]) == 2
    assert "no config.json in" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"'])
def test_a_damaged_recipe_of_a_run_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config.json is damaged; expected the settings"):
        recipe.load(tmp_path)


def test_another_class_count_is_refused(finished, tmp_path, monkeypatch):
    other = coco_folder.write(tmp_path / "other", split="val")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"trained for 6 classes \(disc.*the data set has 3"):
        evaluate(finished, data=str(other), split="val")


def test_an_image_size_of_zero_is_refused(finished):
    with pytest.raises(InputError, match=r"image_size is 0; expected more than 0"):
        evaluate(finished, image_size=0)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--config.optim.learning_rat=1", 'Did you mean "learning_rate"'),
        ("--config.eval.nms.iou=1", "value: iou (yolor train --help"),
        ("--confi=x", "Unknown command line flag 'confi'"),
        ("--config=configs/ablations.py:x_iFA", "no ablation 'x_iFA'; expected one of baseline,"),
        ("--config=configs/quickstart.py:x", "this recipe has no rows or models to choose"),
        ("--config=nowhere.py", "no recipe 'nowhere.py'; expected one of ablations, coco128"),
        ("--config=README.md", "no recipe 'README.md'; expected one of ablations"),
        ("configs/quickstrat.py", "no recipe 'configs/quickstrat.py'; expected one of"),
        ("--config.model.implicit={'neck': 'add'}", "no place of implicit knowledge 'neck'"),
    ],
)
def test_an_unknown_setting_says_what_was_meant(flag, sentence):
    done = subprocess.run(
        [sys.executable, "train_main.py", flag], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("recipe", sorted(p.stem for p in (ROOT / "configs").glob("*.py")))
def test_every_recipe_has_the_settings_of_base(recipe):
    module = __import__(f"yolor_jax.configs.{recipe}", fromlist=["get_config"])
    assert set(module.get_config().keys()) == set(base.get_config().keys())
    assert module.get_config().is_locked
