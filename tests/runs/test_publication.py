"""A network that is published and loaded again: the same weights, and a card of what is known."""

import json

import cv2
import jax
import numpy as np
import pytest
import yaml

from tests.support.grid_detector import grid_detector
from tests.support.hub_server import TOKEN
from tests.support.saved_run import META, save_run
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.cli.main import main
from yolor_jax.errors import InputError
from yolor_jax.paths import user_path
from yolor_jax.runs import evaluation_folder
from yolor_jax.runs.opening import load
from yolor_jax.runs.publication import card, numbers_of, publish
from yolor_jax.weights import hub
from yolor_jax.weights.store import load_meta, save_variables


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "grid.safetensors"
    save_variables(file, grid_detector()[1], {**META, "fused": False})
    return file


def test_published_and_loaded_and_converted_again(served, weights, tmp_path, monkeypatch, capsys):
    (tmp_path / "seen.txt").write_text("trained  level0  3.10e-06  ok\n")
    publish = ["publish", str(weights), "hf://org/grid", "--license", "apache-2.0", "--private"]
    assert main(publish) == 2
    assert "HF_TOKEN" in capsys.readouterr().err and not served.repositories
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main([*publish, "--certificate", str(tmp_path / "seen.txt")]) == 0
    assert "yolor detect IMAGE... --checkpoint hf://org/grid" in capsys.readouterr().out
    there = served.repositories["org/grid"]
    assert there.private and set(there.files) == {
        "README.md", "certificate.txt", "model.safetensors"
    }  # fmt: skip
    assert "3.10e-06" in there.files["README.md"].decode()
    again = load("hf://org/grid")
    jax.tree.map(np.testing.assert_array_equal, again.variables, load(weights).variables)
    assert again.class_names == ("cat", "dog", "sheep") and len(again.meta["stamps"]) == 2
    assert main(["convert", "hf://org/grid", str(tmp_path / "c.safetensors")]) == 0
    assert load_meta(tmp_path / "c.safetensors")["model"] == "yolor_test"
    served.status = 503  # as without a network
    assert load("hf://org/grid").meta == again.meta


@pytest.mark.long
def test_detection_by_weights_on_the_hub(served, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.push(hub.parse("hf://org/grid"), {hub.FILE: weights}, private=False, message="first")
    cv2.imwrite("a.png", np.zeros((64, 64, 3), np.uint8))
    assert main(["detect", "a.png", "--checkpoint", "hf://org/grid", "--pictures", "none"]) == 0
    found = json.loads((tmp_path / "detections" / "detections.json").read_text())
    assert found["checkpoint"] == "hf://org/grid" and len(found["images"][0]["detections"]) == 64


def test_the_card_of_a_run_has_data_numbers_and_thresholds(tmp_path):
    save_run(tmp_path / "run", grid_detector()[1], step=7)
    trained, recipe = load(tmp_path / "run"), typed(small_recipe("data/pets"))
    mode = {"image_size": 64, "folded": True, "backend": "hotcoco"}
    record = {"data": "data/pets", "split": "val", "step": 7, "images": 12, "mode": mode,
              "metrics": {"AP": 0.4321, "AP50": 0.6, "APs": None}}  # fmt: skip
    text = card(trained, hub.parse("hf://org/pets@v2"), "cc-by-4.0", recipe, [record], None)
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "cc-by-4.0" and head["pipeline_tag"] == "object-detection"
    assert text.split("---\n")[2].lstrip().startswith("# pets\n")
    nms = recipe.eval.nms
    for said in (
        "yolor_test, step 7: ", "3 classes, images of 64 pixels", "cat, dog, sheep",
        "--checkpoint hf://org/pets@v2", "12 images of data/pets, val · step 7 · 64 pixels",
        "| AP | 43.2 |", "| AP50 | 60.0 |", f"| epochs | {recipe.epochs:g} |",
        f"score above {nms.score_threshold:g}, NMS at IoU {nms.iou_threshold:g}",
    ):  # fmt: skip
        assert said in text, said
    assert "APs" not in text and "Certificate" not in text


def test_the_card_of_a_file_says_what_nobody_knows(weights):
    text = card(load(weights), hub.parse("hf://org/grid"), "other", None, [], None)
    assert "None are known" in text and "Data and recipe" not in text
    assert f"| version | {load_meta(weights)['stamps'][0]['version']}" in text


def test_evaluations_of_other_steps_are_left_out(tmp_path):
    save_run(tmp_path / "run", grid_detector()[1], step=7)
    modes = {"six": (6, {}), "seven": (7, {}), "file": (7, {"runtime": "onnxruntime 1.32"})}
    for name, (step, mode) in modes.items():
        folder = tmp_path / "run" / evaluation_folder.FOLDER / name
        folder.mkdir(parents=True)
        record = {"data": "d", "split": "s", "metrics": {}, "analysis": {}, "step": step}
        (folder / evaluation_folder.RECORD).write_text(json.dumps(record | {"mode": mode}))
    (folder.parent / "killed").mkdir()  # before it was at its end
    run = user_path(tmp_path / "run")
    [one] = numbers_of(run, load(run))
    assert (one["step"], one["mode"]) == (7, {})


def test_evaluations_of_a_savedmodel_lie_beside_it(tmp_path):
    """It is a folder, whose checksum is that of all in it."""
    for name, root in [("a.savedmodel", "a.evaluations"), ("run", "run/evaluations")]:
        (tmp_path / name).mkdir()
        assert evaluation_folder.root_of(tmp_path / name) == tmp_path / root


def test_weights_are_published_under_their_own_name_alone(weights):
    with pytest.raises(InputError, match=r"got hf://org/grid/other.bin; expected hf://ORG/NAME"):
        publish(weights, hub.parse("hf://org/grid/other.bin"), licence="mit", private=True)


def test_other_places_of_weights_say_how_to_use_the_hub(capsys):
    with pytest.raises(InputError, match=r"yolor convert hf://org/grid WEIGHTS\.safetensors first"):
        user_path("hf://org/grid")
    with pytest.raises(SystemExit):
        main(["detect", "a.png", "--checkpoint", "hf://grid"])
    assert "expected hf://ORG/NAME" in capsys.readouterr().err
