"""A whole split: every image once, in its own pixels, the same on one device and on eight."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.support.grid_detector import grid_boxes, grid_detector
from yolor_jax.boxes import letterbox_to_original
from yolor_jax.data.example import Batch
from yolor_jax.data.pipeline import eval_batches
from yolor_jax.detection.nms import Detections
from yolor_jax.evaluation.evaluate import coco_results, evaluate
from yolor_jax.inference.prediction import NmsConfig, Prediction, make_predict, split_detections
from yolor_jax.preparation.dataset import open_dataset

CATEGORY_IDS = (3, 10, 90)
SIZE = (80, 120)  # of the original images; letterboxed to 40 x 60 in a canvas of 64 x 64
LETTERBOX = (0.5, 2.0, 12.0)


class Truth:
    """A split of images with two objects each; the last has none."""

    def __init__(self, number):
        self.image_ids = [1000 - 7 * i for i in range(number)]
        self.category_ids = CATEGORY_IDS
        rng = np.random.default_rng(0)
        left_top = rng.integers(0, 40, (number, 2, 2))
        sides = rng.integers(10, 40, (number, 2, 2))
        self.boxes = np.concatenate([left_top, left_top + sides], axis=-1).astype(np.float32)
        self.labels = rng.integers(0, 3, (number, 2)).astype(np.int32)

    def ground_truth(self):
        annotations = [
            {
                "id": 2 * i + j,
                "image_id": self.image_ids[i],
                "category_id": CATEGORY_IDS[self.labels[i, j]],
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                "iscrowd": 0,
            }
            for i, pair in enumerate(self.boxes[:-1])
            for j, box in enumerate(pair)
        ]
        return {
            "images": [{"id": i} for i in self.image_ids],
            "categories": [{"id": i} for i in CATEGORY_IDS],
            "annotations": annotations,
        }


def batches(positions, batch_size):
    """Batches of these images, the last filled up; the first pixel holds the position."""
    for start in range(0, len(positions), batch_size):
        index = np.array(positions[start : start + batch_size], np.int32)
        valid = np.arange(batch_size) < len(index)
        index = np.pad(index, (0, batch_size - len(index)), constant_values=-1)
        image = np.random.default_rng(start).integers(0, 256, (batch_size, 64, 64, 3), np.uint8)
        image[:, 0, 0, 0] = index.astype(np.uint8)
        yield Batch(
            image=image,
            boxes_xyxy=np.zeros((batch_size, 1, 4), np.float32),
            labels=np.zeros((batch_size, 1), np.int32),
            mask=np.zeros((batch_size, 1), bool),
            is_crowd=np.zeros((batch_size, 1), bool),
            index=index,
            original_size=np.tile(np.array(SIZE, np.int32), (batch_size, 1)),
            letterbox=np.tile(np.array(LETTERBOX, np.float32), (batch_size, 1)),
            valid=valid,
            identity=np.full((batch_size, 1), -1, np.int32),
        )


@jax.jit
def all_knowing(variables, image, letterbox, original_size):
    """Finds the true boxes of the image whose position stands in its first pixel."""
    position = image[:, 0, 0, 0].astype(jnp.int32)
    labels = variables["labels"][position]
    scores = jnp.where(labels >= 0, jnp.array([[0.9, 0.8]]), 0)
    return Detections(variables["boxes"][position], scores, labels, labels >= 0)


def knowledge(truth):
    return {"boxes": jnp.array(truth.boxes), "labels": jnp.array(truth.labels)}


@pytest.fixture(scope="module")
def eight():
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "fsdp"))
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


@pytest.mark.parametrize("backend", ["faster-coco-eval", "pycocotools"])
def test_all_found(backend, capfd):
    truth = Truth(10)
    knows = knowledge(truth)
    knows["labels"] = knows["labels"].at[-1].set(-1)  # the image without objects
    metrics, results, _ = evaluate(
        all_knowing, knows, batches(range(10), 4), truth, backend=backend, progress=False
    )
    assert metrics["AP"] == metrics["AP50"] == metrics["AR100"] == pytest.approx(1.0)
    assert len(results) == 18 and json.loads(json.dumps(results, allow_nan=False)) == results
    true = truth.ground_truth()["annotations"]
    for result, annotation in zip(results, true, strict=True):
        for key in ("image_id", "category_id", "bbox"):
            assert result[key] == annotation[key]
        assert result["score"] == pytest.approx(0.9 if annotation["id"] % 2 == 0 else 0.8)
    assert capfd.readouterr() == ("", "")


def test_wrong_images_are_not_right():
    """The same boxes on other images: what every image gets must be its own."""
    truth = Truth(10)
    others = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), knowledge(truth))
    metrics, *_ = evaluate(all_knowing, others, batches(range(10), 4), truth, progress=False)
    assert metrics["AP50"] < 0.2


def test_order_and_batch_size_do_not_matter():
    truth = Truth(9)
    once = evaluate(all_knowing, knowledge(truth), batches(range(9), 9), truth, progress=False)
    positions = [4, 8, 0, 1, 7, 2, 6, 5, 3]
    again = evaluate(all_knowing, knowledge(truth), batches(positions, 2), truth, progress=False)
    assert once.metrics == again.metrics
    assert sorted(map(str, once.results)) == sorted(map(str, again.results))


@pytest.mark.parametrize(
    ("positions", "sentence"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], r"2 of 10 images never came, the first at position 8 .*id 944"),
        ([], "10 of 10 images never came"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3], "at position 3 came twice"),
        ([0, 1, 1], "at position 1 came twice"),
        ([0, 10], "position 10, but the split has 10 images"),
    ],
)
def test_every_image_exactly_once(positions, sentence):
    truth = Truth(10)
    with pytest.raises(ValueError, match=sentence):
        evaluate(all_knowing, knowledge(truth), batches(positions, 4), truth, progress=False)


def test_ground_truth_of_another_split():
    truth, other = Truth(10), Truth(9)
    truth.ground_truth = other.ground_truth
    with pytest.raises(ValueError, match="source has 10 images and its ground truth 9"):
        evaluate(all_knowing, knowledge(truth), batches(range(10), 5), truth, progress=False)


def test_a_batch_is_fetched_after_the_next_is_sent(monkeypatch):
    truth = Truth(6)
    events = []

    def predict(*arguments):
        events.append("send")
        return all_knowing(*arguments)

    def fetch(detections):
        events.append("fetch")
        return split_detections(detections)

    monkeypatch.setattr("yolor_jax.evaluation.evaluate.split_detections", fetch)
    evaluate(predict, knowledge(truth), batches(range(6), 2), truth, progress=False)
    assert events == ["send", "send", "fetch", "send", "fetch", "fetch"]


def test_one_network_on_one_and_on_eight_devices(eight):
    module, variables = grid_detector()
    nms = NmsConfig(score_threshold=0.1, max_candidates=100, max_detections=100)
    predict = jax.jit(make_predict(module, nms))
    truth = Truth(11)
    on_one = evaluate(
        predict, jax.device_put(variables), batches(range(11), 8), truth, progress=False
    )
    whole = NamedSharding(eight.mesh, PartitionSpec())
    on_eight = evaluate(
        predict,
        jax.device_put(variables, whole),
        batches(range(11), 8),
        truth,
        sharding=eight,
        progress=False,
    )
    assert on_one.metrics == pytest.approx(on_eight.metrics)
    number = 48  # of the 64 cells, those not in the border
    assert len(on_one.results) == len(on_eight.results) == 11 * number
    for one, other in zip(on_one.results, on_eight.results, strict=True):
        assert one["image_id"] == other["image_id"] and one["category_id"] == 10
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=1e-3)
    scale, pad_x, pad_y = LETTERBOX
    expected = (grid_boxes(64, 64) - [pad_x, pad_y, pad_x, pad_y]) / scale
    expected = np.clip(expected, 0, [*SIZE[::-1], *SIZE[::-1]])
    expected = expected[(expected[:, 2:] - expected[:, :2]).min(axis=-1) > 0.1]
    first = np.array([result["bbox"] for result in on_one.results[:number]])
    first[:, 2:] += first[:, :2]
    np.testing.assert_allclose(
        sorted(first.round(2).tolist()), sorted(expected.tolist()), atol=0.02
    )
    assert predict._cache_size() == 2, "one compilation for each way of placing the batch"


def test_true_boxes_through_letterbox_and_back_score_one(shared, tmp_path):
    """Real images from the pipeline, whose boxes in pixels of the network are the detections."""
    source = open_dataset(str(shared / "data" / "coco128"), "val2017", str(tmp_path))
    sent = []

    def sending():
        for batch in eval_batches(source, image_size=160, batch_size=48, max_targets=64):
            sent.append(batch)
            yield batch

    def predict(variables, image, letterbox, original_size):
        batch = sent[-1]
        mask = jnp.asarray(batch.mask & ~batch.is_crowd)
        boxes_xyxy = letterbox_to_original(batch.boxes_xyxy, letterbox, original_size)
        scores = jnp.where(mask, jnp.float32(0.9), 0)
        return Detections(boxes_xyxy, scores, jnp.asarray(batch.labels), mask)

    metrics, *_ = evaluate(predict, {}, sending(), source, progress=False)
    assert {name: metrics[name] for name in ("AP", "APs", "APm", "APl", "AR100")} == pytest.approx(
        {"AP": 1.0, "APs": 1.0, "APm": 1.0, "APl": 1.0, "AR100": 1.0}
    )


def test_bar_counts_images(capfd):
    truth = Truth(5)
    evaluate(all_knowing, knowledge(truth), batches(range(5), 2), truth)
    assert "5/5" in capfd.readouterr().err


def test_coco_results():
    prediction = Prediction(
        np.array([[1, 2, 11, 22.5]], np.float32),
        np.array([0.5], np.float32),
        np.array([2], np.int32),
    )
    assert coco_results(prediction, 42, CATEGORY_IDS) == [
        {"image_id": 42, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 20.5], "score": 0.5}
    ]
