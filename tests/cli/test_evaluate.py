"""``yolor eval``: a folder for each evaluation, every mode said, boxes of others, bad input."""

import json

import pytest

from tests.support import coco_folder
from tests.support.grid_detector import grid_detector
from tests.support.saved_run import META
from yolor_jax.cli.main import main
from yolor_jax.weights.store import save_variables

CELLS = 6 * 8  # of 8 pixels in an image of 48 x 64: what the network finds in each
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}, {"id": 90, "name": "sheep"}]


def objects_in_cells(coco, _):
    """A dog in a cell of each of four images, and one cat that the network takes for a dog."""
    coco["categories"] = CATEGORIES
    coco["annotations"] = [
        coco_folder.box_entry(number, number, 7, (8 * number, 8, 8, 8), area=64)
        for number in range(1, 5)
    ]
    coco["annotations"].append(coco_folder.box_entry(5, 1, 3, (40, 16, 8, 8), area=64))


def without_objects(coco, _):
    coco["categories"] = CATEGORIES
    coco["annotations"] = []


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Weights of a network that finds a dog in each cell, and two data sets."""
    folder = tmp_path_factory.mktemp("eval")
    save_variables(folder / "grid.safetensors", grid_detector()[1], {**META, "fused": False})
    coco_folder.write(folder / "pets", edit=objects_in_cells)
    coco_folder.write(folder / "empty", images=1, edit=without_objects)
    return folder


@pytest.fixture(autouse=True)
def in_it(here, monkeypatch):
    monkeypatch.chdir(here)


def evaluate(*words, data="pets"):
    return main(
        ["eval", "--checkpoint", "grid.safetensors", "--data", data, "--split", "val", *words]
    )


def record(here, name):
    return json.loads((here / "grid.evaluations" / name / "evaluation.json").read_text())


def test_an_evaluation_has_a_folder_and_says_what_it_is_of(here, capsys):
    assert evaluate() == 0
    out = capsys.readouterr().out
    nms = "NMS at IoU 0.65 of scores above 0.001"
    assert f"4 images of pets, val; 64 pixels, {nms}, faster-coco-eval" in out
    assert "yolor report grid.evaluations/pets-val-64px" in out
    written = record(here, "pets-val-64px")
    assert written["nms"] == {"score_threshold": 0.001, "iou_threshold": 0.65}
    assert (written["data"], written["split"], written["images"]) == ("pets", "val", 4)
    assert written["mode"]["folded"] is False and written["mode"]["image_size"] == 64
    # One of 48 equal boxes is right in each image, wherever it stands among them; no cat is found.
    dog = {one["name"]: one for one in written["analysis"]["classes"]}["dog"]
    assert dog["objects"] == 4 and dog["recall"] == 1.0 and dog["precision"] == 4 / (4 * CELLS)
    assert written["metrics"]["AR100"] == pytest.approx(0.5)
    assert written["stamp"]["version"]
    boxes = json.loads((here / "grid.evaluations/pets-val-64px/detections.json").read_text())
    assert len(boxes) == 4 * CELLS and {box["category_id"] for box in boxes} == {7}


def test_a_file_of_boxes_gives_the_same_numbers(here, capsys):
    assert evaluate() == 0
    boxes = here / "grid.evaluations" / "pets-val-64px" / "detections.json"
    annotations = "pets/annotations/instances_val.json"
    for data, name in (("pets", "pets-val"), (annotations, "instances_val-instances_val")):
        assert main(["eval", "--results", str(boxes), "--data", data]) == 0
        folder = boxes.parent / "detections.evaluations" / name
        scored = json.loads((folder / "evaluation.json").read_text())
        for part in ("metrics", "analysis"):
            assert scored[part] == record(here, "pets-val-64px")[part]
        assert scored["model"] is None
    assert "192 boxes and all numbers are in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "name", "said"),
    [
        pytest.param(
            ["--rect", "--tta"],
            "64px-rect-tta",
            "rectangular batches, test-time augmentation",
            marks=pytest.mark.long,
        ),
        (["--single-class", "--folded"], "folded-64px-single-class", "all classes as one"),
        (
            ["--class-agnostic", "--max-detections", "11", "--backend", "pycocotools"],
            "64px-agnostic-max11",
            "class-agnostic NMS, at most 11 boxes an image, NMS at IoU 0.65",
        ),
        (["--classes", "dog", "cat"], "64px-2-classes", "only dog, cat"),
    ],
)
def test_modes_are_said_and_stay_apart(here, capsys, words, name, said):
    assert evaluate(*words) == 0
    assert said in capsys.readouterr().out
    written = record(here, f"pets-val-{name}")
    classes = written["analysis"]["classes"]
    if "--single-class" in words:
        assert [(one["name"], one["recall"]) for one in classes] == [("object", 1.0)]
    elif "--classes" in words:
        assert [one["name"] for one in classes] == ["cat", "dog"]
        assert written["metrics"]["AR100"] == pytest.approx(0.5)
    elif "--max-detections" in words:
        folder = here / "grid.evaluations" / f"pets-val-{name}"
        boxes = json.loads((folder / "detections.json").read_text())
        assert len(boxes) == 4 * (11 - 8)  # those of the first row lie in the grey border
    else:
        assert classes[1]["recall"] > 0


def test_the_same_again_takes_its_own_place(here):
    assert evaluate() == evaluate() == 0
    names = [path.name for path in (here / "grid.evaluations").iterdir()]
    assert names.count("pets-val-64px") == 1
    other = coco_folder.write(here / "other" / "pets", edit=objects_in_cells)
    assert evaluate(data=str(other)) == 0
    assert record(here, "pets-val-64px")["data"] == "pets"
    assert record(here, "pets-val-64px-2")["data"] == str(other)


def test_a_split_without_objects_still_gives_its_boxes(here, capsys):
    assert evaluate(data="empty") == 0
    assert "the split has no objects" in capsys.readouterr().out
    written = record(here, "empty-val-64px")
    assert set(written["metrics"].values()) == {None}


def test_a_test_split_whose_objects_nobody_knows(here, capsys):
    """As COCO publishes it: the names of its images, which are a part of test2017."""
    folder = coco_folder.write(here / "coco", images=2, split="test2017", edit=without_objects)
    written = folder / "annotations" / "instances_test2017.json"
    coco = json.loads(written.read_text())
    del coco["annotations"]
    written.unlink()
    (folder / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(coco))
    words = ["eval", "--checkpoint", "grid.safetensors", "--data", "coco"]
    assert main([*words, "--split", "test-dev2017"]) == 0
    assert "the split has no objects" in capsys.readouterr().out
    boxes = here / "grid.evaluations" / "coco-test-dev2017-64px" / "detections.json"
    assert len(json.loads(boxes.read_text())) == 2 * CELLS


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "expected one of --workdir=FOLDER, --checkpoint=FILE, --exported=FILE and"),
        (["--results", "b.json"], "--results needs --data"),
        (["--results", "b.json", "--data", "pets", "--tta"], "--tta says how a network looks"),
        (["--results", "gone.json", "--data", "pets"], "gone.json"),
    ],
)
def test_what_does_not_go_together(capsys, words, sentence):
    assert main(["eval", *words]) == 2
    assert sentence in capsys.readouterr().err


BOX = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[{", "no complete JSON"),
        ("{}", "holds no list"),
        ("[3]", "entry 0 is 3"),
        (json.dumps([BOX, {**BOX, "image_id": "1"}]), "entry 1 has image_id '1'"),
        (json.dumps([{**BOX, "bbox": [0, 0, -1, 5]}]), "a width and a height of 0 or more"),
        (json.dumps([{**BOX, "bbox": [0, 0, 5]}]), "left, top, width and height"),
        (json.dumps([{**BOX, "score": None}]), "has score None"),
        (json.dumps([{**BOX, "score": float("nan")}]), "has score nan"),
        (json.dumps([{**BOX, "image_id": 99}]), "image_id 99"),
    ],
)
def test_boxes_that_are_wrong_are_named(here, capsys, content, sentence):
    (here / "b.json").write_text(content)
    assert main(["eval", "--results", "b.json", "--data", "pets"]) == 2
    assert sentence in capsys.readouterr().err


def test_no_boxes_at_all(here, capsys):
    (here / "none.json").write_text("[]")
    assert main(["eval", "--results", "none.json", "--data", "pets"]) == 0
    assert "0 boxes and all numbers" in capsys.readouterr().out


def test_a_class_that_is_not_there(capsys):
    assert evaluate("--classes", "dog", "cow") == 2
    assert "there is no class 'cow'; expected some of cat, dog, sheep" in capsys.readouterr().err


def test_broken_annotations_are_counted(here, capsys):
    coco = json.loads((here / "pets/annotations/instances_val.json").read_text())
    coco["annotations"][0]["bbox"] = [0, 0, -1, 2]
    coco["annotations"][1]["image_id"] = 77
    (here / "broken.json").write_text(json.dumps(coco))
    (here / "none.json").write_text("[]")
    assert main(["eval", "--results", "none.json", "--data", "broken.json"]) == 2
    assert "broken.json: 2 entries are broken, the first: broken box" in capsys.readouterr().err
