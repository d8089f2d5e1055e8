"""The same objects in each format of data give the same numbers of a network."""

import functools

import pytest

from tests.support import formats as writers
from tests.support.coco_folder import jpeg
from tests.support.grid_detector import grid_detector
from yolor_jax.cli.main import main
from yolor_jax.configs import base
from yolor_jax.runs import evaluation, recipe
from yolor_jax.runs.opening import load
from yolor_jax.weights.store import save_variables

NAMES = ["cat", "dog", "sheep"]
CELL = 80  # a cell of the detector, in pixels of a picture of 640 x 480
OBJECTS = {
    "train": [(3, 0, 0), (1, 0, 0), (2, 0, 0)],
    "val": [(2, 0, 0), (2, 240, 160), (2, 360, 320), (1, 480, 80)],
}
"""Category, left and top; the third of val lies half a cell beside one, where nothing is found."""
META = {
    "model": "yolor_test", "implicit": None, "num_classes": 3, "class_names": NAMES,
    "image_size": 64, "fused": False,
}  # fmt: skip
WRITERS = {
    "COCO": writers.write_coco,
    "COCO of Roboflow": writers.write_roboflow,
    "YOLO": writers.write_yolo,
    "VOC": writers.write_voc,
    "VOC of Roboflow": functools.partial(writers.write_voc, by_split=True),
}


def pictures(split, count=3):
    """COCO's JSON and the images, numbered from 1: the objects of the split on each of them."""
    names = [f"{split}{number}.jpg" for number in range(count)]
    images = [
        {"id": number, "file_name": name, "height": 480, "width": 640}
        for number, name in enumerate(names, 1)
    ]
    objects = [(image["id"], *placed) for image in images for placed in OBJECTS[split]]
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "iscrowd": 0,
         "bbox": [left, top, CELL, CELL]}
        for number, (image, category, left, top) in enumerate(objects, 1)
    ]  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    return coco, {name: jpeg(480, 640, seed=seed) for seed, name in enumerate(names)}


@pytest.mark.long
def test_average_precision_is_that_of_coco(tmp_path):
    """The boxes are of whole pixels: VOC has no others, and YOLO's are read to a millionth."""
    save_variables(tmp_path / "grid.safetensors", grid_detector()[1], META)
    trained = load(tmp_path / "grid.safetensors")
    fitted = evaluation.of_network(recipe.read(base.get_config().to_dict()), trained)
    data = {split: pictures(split) for split in OBJECTS}
    found = {}
    for name, write in WRITERS.items():
        folder, ready = write(tmp_path / name / "pets", data), tmp_path / name / "ready"
        assert main(["prepare", str(folder), str(ready)]) == 0
        asked = evaluation.on(fitted, data=str(ready), split="val")
        found[name] = evaluation.evaluate(trained, asked).evaluation
    coco = found.pop("COCO")
    # Of dogs two of three are found, at any IoU; cats are taken for dogs; there are no sheep.
    assert coco.metrics["AR100"] == pytest.approx((2 / 3 + 0) / 2)
    assert 0 < coco.metrics["AP"] < coco.metrics["AR100"]
    for name, other in found.items():
        assert other.metrics == coco.metrics, name
        assert other.results == coco.results, name
