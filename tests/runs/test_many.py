"""Detection on a Ray cluster, here one of this machine: the same boxes, whatever is killed."""

import json
import os
import pathlib
import signal

import cv2
import numpy as np
import pytest

from tests.support.grid_detector import grid_detector
from tests.support.saved_run import META, save_run
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.inference.frame import Unread
from yolor_jax.inference.writers import open_writer
from yolor_jax.runs import many
from yolor_jax.runs.opening import load

DEADLY = "deadly.png"


class KilledOnce(many.DetectBatch):
    """An actor that is killed, once, in the batch with a certain picture."""

    def __call__(self, batch):
        for path in batch.column("path").to_pylist():
            mark = pathlib.Path(path).with_suffix(".killed")
            if path.endswith(DEADLY) and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a run and six pictures, one of which is none."""
    folder = tmp_path_factory.mktemp("many")
    save_run(folder / "run", grid_detector()[1])
    (folder / "photos").mkdir()
    for number in range(5):
        image = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        name = DEADLY if number == 2 else f"{number}.png"
        cv2.imwrite(str(folder / "photos" / name), image)
    (folder / "photos" / "text.jpg").write_text("no image")
    return folder


def rows(path):
    with open(path) as file:
        return sorted(map(json.loads, file), key=lambda row: row["file"])


def table(**columns):
    return pytest.importorskip("pyarrow").table(columns)


def test_what_an_actor_does(here):
    """Without Ray: the same rows as of `Detection`, from files and from what was in them."""
    detect = many.DetectBatch(here / "run", batch_size=4, threads=2)
    paths = [str(here / "photos" / name) for name in ("0.png", "text.jpg", "1.png")]
    of_files = detect(table(path=paths)).to_pylist()
    assert [row["file"] for row in of_files] == paths
    assert "no image of a known format" in of_files[1]["error"] and of_files[1]["detections"] == []
    first = of_files[0]
    assert (first["error"], first["height"], first["width"]) == (None, 64, 96)
    assert len(first["detections"]) > 30 and first["detections"][0]["name"] == "dog"
    data = [pathlib.Path(path).read_bytes() for path in paths]
    assert detect(table(path=paths, bytes=data)).to_pylist() == of_files
    assert detect(table(path=[], bytes=[])).num_rows == 0


def test_an_actor_decodes_no_more_than_need_be(here, tmp_path):
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (256, 512, 3), np.uint8))
    rows = [
        many.DetectBatch(here / "run", threads=1, scaled_decode=scaled)(table(path=[str(path)]))
        for scaled in (False, True)
    ]
    [whole], [scaled] = (one.to_pylist() for one in rows)
    assert scaled == whole and (scaled["height"], scaled["width"]) == (256, 512)


def test_arguments_that_ray_cannot_take(here, capsys):
    words = ["--checkpoint", str(here / "run"), "--ray", "local"]
    assert main(["detect", str(here / "photos"), *words]) == 2
    assert "--ray draws no pictures; expected --pictures none" in capsys.readouterr().err
    assert main(["detect", "0", *words, "--pictures", "none"]) == 2
    assert "--ray looks at pictures only; leave out camera 0" in capsys.readouterr().err
    words = [str(here / "photos"), *words, "--pictures", "none", "--output", str(here / "none")]
    for option, sentence in {
        ("--classes", "cow"): "there is no class 'cow'",
        ("--image-size", "65"): "65 is not a multiple of the largest stride 32",
        ("--embed",): "this network gives objects no vectors",
    }.items():
        assert main(["detect", *words, *option]) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.long
def test_the_command_gives_the_boxes_of_one_machine(here, monkeypatch, capsys):
    pytest.importorskip("ray.data", reason="pip install 'yolor-jax[ray]'")
    monkeypatch.chdir(here)
    words = ["detect", "photos", "--checkpoint", "run", "--pictures", "none", "--format", "jsonl"]
    assert main([*words, "--output", "one"]) == 1
    alone = capsys.readouterr()
    assert main([*words, "--output", "many", "--ray", "local"]) == 1
    shared = capsys.readouterr()
    assert rows("many/detections.jsonl") == rows("one/detections.jsonl") != []
    assert alone.err in shared.err and "left out: photos/text.jpg: damaged" in alone.err
    assert main([*words, "--output", "x", "--ray", "127.0.0.1:1"]) == 2
    assert "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.long
def test_a_killed_actor_costs_its_batch(here, monkeypatch, tmp_path):
    pytest.importorskip("ray.data", reason="pip install 'yolor-jax[ray]'")
    monkeypatch.setattr(many, "DetectBatch", KilledOnce)
    monkeypatch.setattr(many, "ROWS", 2)
    writer = open_writer("jsonl", tmp_path, {"class_names": META["class_names"]})
    work = many.ManyDetection(load(here / "run"), writer, "local", {"batch_size": 2})
    files = sorted((here / "photos").glob("*g"))
    done = list(work.each([many.Pictures(files)]))
    assert (here / "photos" / DEADLY).with_suffix(".killed").exists()
    assert sum(isinstance(one, Unread) for one in done) == 1 and len(done) == 6
    assert len(rows(tmp_path / "detections.jsonl")) == 5


@pytest.mark.long
def test_the_class_in_a_pipeline_of_somebody(here, tmp_path):
    """As docs/many_images.md has it: pictures in by Ray, Parquet out."""
    pytest.importorskip("ray.data", reason="pip install 'yolor-jax[ray]'")
    import pyarrow.parquet

    with many.on_cluster("local") as ray:
        pictures = ray.data.read_binary_files(str(here / "photos"), include_paths=True)
        found = pictures.map_batches(
            many.DetectBatch,
            fn_constructor_args=(str(here / "run"),),
            batch_format="pyarrow",
            batch_size=64,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        found.write_parquet(str(tmp_path / "found"))
    written = pyarrow.parquet.read_table(tmp_path / "found").to_pylist()
    assert {pathlib.Path(row["file"]).name for row in written} >= {"0.png", "text.jpg"}
    assert all(len(row["detections"]) > 30 for row in written if row["file"].endswith("png"))


def test_a_cluster_without_ray_is_a_sentence(here, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    writer = open_writer("jsonl", tmp_path, {"class_names": META["class_names"]})
    work = many.ManyDetection(load(here / "run"), writer, "local", {})
    with pytest.raises(InputError, match=r"--ray needs Ray: pip install 'yolor-jax\[ray\]'"):
        list(work.each([many.Pictures([here / "photos" / "0.png"])]))
