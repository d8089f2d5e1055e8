"""Each command with data, weights and workdir in a bucket; no process makes a local folder gs:."""

import json
import pathlib
import signal

import cv2
import jax
import numpy as np
import pytest

from tests.support import launching, local_bucket, saved_run, tiny_run
from tests.support.leaves import random_leaves
from yolor_jax import bucket
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.zoo import MODELS
from yolor_jax.paths import user_path
from yolor_jax.preparation import fetched, shapes
from yolor_jax.runs.opening import load
from yolor_jax.training import bad_batch
from yolor_jax.training.checkpoints.loading import load_variables
from yolor_jax.training.metrics import read_json_lines
from yolor_jax.training.window import CLOCK_METRICS

SETTINGS = [
    "--config.model.name=yolor_test", "--config.image_size=64", "--config.batch_size=8",
    "--config.epochs=2", "--config.log_every=1", "--config.eval.batch_size=8",
    "--config.eval.every_epochs=1", "--config.checkpoint_every=1",
]  # fmt: skip


def put_all(folder: pathlib.Path, place) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.put(file, place / file.relative_to(folder).as_posix())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared shapes in the bucket."""
    sizes = {"train": 16, "validation": 4}
    prepared = shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)
    place = user_path(f"{local_bucket.BUCKET}/prepared/shapes")
    put_all(prepared, place)
    return place


@pytest.mark.long
def test_commands(place, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    run = [f"--config.data.path={data}", *SETTINGS]
    assert main(["train", "quickstart", "--workdir", f"{place}/run", *run]) == 0
    names = {name for name in bucket.objects(place / "run") if "checkpoints" not in name}
    assert {
        "config.json", "metrics.jsonl", "curves.png", "detections.json", "report.html",
        "pictures/augmented.png", "pictures/validation.png",
    } <= names  # fmt: skip
    rows = read_json_lines(place / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "eval/AP" in row] == [2, 4]
    assert main(["eval", "--workdir", f"{place}/run"]) == 0
    assert main(["report", f"{place}/run", "--output", "here.html"]) == 0
    assert (tmp_path / "here.html").read_text().count("<svg class=") > 10
    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 99, np.uint8))
    for step in ("best", "3"):
        detect = ["detect", str(picture), "--checkpoint", f"{place}/run", "--step", step]
        assert main([*detect, "--output", str(tmp_path / step)]) == 0
    assert main(["fold", f"{place}/run", f"{place}/folded.safetensors"]) == 0
    detect = ["detect", str(picture), "--checkpoint", f"{place}/folded.safetensors"]
    assert main([*detect, "--output", str(tmp_path / "folded")]) == 0
    boxes = [json.loads((tmp_path / n / "detections.json").read_text()) for n in ("best", "folded")]
    assert len(boxes[0]["images"]) == len(boxes[1]["images"]) == 1
    assert main(["train", "quickstart", "--workdir", f"{place}/again", *run,
                 f"--config.init={place}/run", "--config.epochs=0.5"]) == 0  # fmt: skip
    assert "starting from gs://" in capsys.readouterr().out
    batch = tiny_run.make_batch(8, size=(64, 64))
    key_data = np.asarray(jax.random.key_data(jax.random.key(3)))
    bad = bad_batch.BadBatch(4, key_data, {"loss/box": np.nan}, list(range(8)), batch)
    kept = bad_batch.save(place / "run", bad)
    assert main(["doctor", "--replay", str(kept)]) == 0
    assert "the checkpoint of step 3" in capsys.readouterr().out
    assert kept.with_suffix(".png").exists()
    assert not pathlib.Path("gs:").exists()


@pytest.mark.long
def test_outputs_of_commands(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spec = MODELS["yolor_test"]
    run = place / "run"
    saved_run.save_run(run, random_leaves(variable_shapes(build(spec, num_classes=3))))
    converted, figure = place / "converted.safetensors", place / "implicit.png"
    assert main(["convert", str(run), str(converted)]) == 0
    jax.tree.map(
        np.testing.assert_array_equal, load(converted).variables, load(run, "latest").variables
    )
    assert main(["convert", str(run), str(converted)]) == 2
    assert f"{converted} exists" in capsys.readouterr().err
    assert main(["convert", str(run), f"{place}/of_torch.safetensors", "--to", "torch"]) == 0
    assert main(["implicit", str(run), "--figure", str(figure)]) == 0
    assert cv2.imdecode(np.frombuffer(figure.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is not None
    for name in (run, converted):
        assert main(["summary", str(name)]) == 0
        assert f"{name}: yolor_test" in capsys.readouterr().out
    figures = place / "figures.json"
    assert main(["doctor", "--workdir", str(place), "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["checks"]
    assert main(["doctor", "--json", "gs://no-such-bucket/figures.json"]) == 2
    assert "no-such-bucket is not there" in capsys.readouterr().err
    assert not pathlib.Path("gs:").exists()


def test_other_stores_are_refused_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (
        ["train", "quickstart", "--workdir", "s3://bucket/run"],
        ["train", "quickstart", "--workdir", "gs:/bucket/run"],
        ["train", "quickstart", "--config.data.path=s3://bucket/coco"],
        ["doctor", "--workdir", "az://bucket/run"],
        ["doctor", "--workdir", "gs://no-such-bucket/run"],
    ):
        try:
            code = main(command)
        except SystemExit as error:
            code = error.code
        assert code in (1, 2)
        said = capsys.readouterr()
        assert "; expected " in said.err or "or its bucket is not" in said.out
    assert not any(tmp_path.glob("*:"))


def test_data_are_copied_once_and_what_is_there_is_not_read_again(data, tmp_path, monkeypatch):
    get, calls = bucket.get, []

    def get_few(path, file):
        calls.append(path.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        get(path, file)

    monkeypatch.setattr(bucket, "get", get_few)
    with pytest.raises(KeyboardInterrupt):
        fetched.fetch(data, tmp_path, progress=False)
    directory = fetched.fetch(data, tmp_path, progress=False)
    assert len(calls) == len(bucket.objects(data)) + 1
    assert fetched.fetch(data, tmp_path, progress=False) == directory
    assert len(calls) == len(bucket.objects(data)) + 1
    for name, known in bucket.objects(data).items():
        assert bucket.as_object(directory / name) == known


def test_data_that_come_otherwise_than_the_store_says(data, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "get", lambda path, file: file.write_bytes(b"something"))
    with pytest.raises(OSError, match="came with other bytes"):
        fetched.fetch(data, tmp_path, progress=False)
    with pytest.raises(InputError, match="is no prepared data set"):
        fetched.fetch(data.parent / "other", tmp_path, progress=False)


def start(place, data, prepared):
    command = [
        str(launching.ROOT / "train_main.py"), f"--workdir={place}", f"--config.data.path={data}",
        f"--config.data.prepared={prepared}", *SETTINGS, "--config.epochs=4",
        "--config.eval.every_epochs=2", "--config.checkpoint_every=3",
    ]  # fmt: skip
    return launching.start([command] * 2, devices=[1, 1])


def finish(processes):
    for code, _, errors in launching.finish(processes):
        assert code == 0, errors


def rows(place):
    return [
        {name: value for name, value in row.items() if name not in CLOCK_METRICS}
        for row in read_json_lines(place / "metrics.jsonl")
    ]


@pytest.mark.long
def test_sigterm_to_one_of_two_processes(place, data, tmp_path):
    finish(start(place / "whole", data, tmp_path))
    started = start(place / "parts", data, tmp_path)
    while len(read_if_there(place / "parts")) < 3:
        assert all(process.poll() is None for process in started)
    started[1].send_signal(signal.SIGTERM)
    ended = launching.finish(started)
    for code, _, errors in ended:
        assert code == 0, errors
    assert "stopped by SIGTERM" in ended[0][1]
    assert 3 <= len(rows(place / "parts")) < 8
    finish(start(place / "parts", data, tmp_path))
    require_equal(place)


def read_if_there(place):
    return rows(place) if (place / "metrics.jsonl").exists() else []


def require_equal(place):
    assert rows(place / "whole") == rows(place / "parts")
    whole, parts = (load_variables(place / name)[0] for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, whole, parts)
