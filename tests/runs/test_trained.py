"""A trained network in three lines: what opens, what goes in, what comes out."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.coco_folder import with_orientation
from tests.support.grid_detector import CLASS, SCORE, grid_boxes, grid_detector
from tests.support.saved_run import META, save_run
from yolor_jax.errors import InputError
from yolor_jax.inference.writers import open_writer
from yolor_jax.runs import trained as library
from yolor_jax.runs.detection import Detection
from yolor_jax.runs.found import as_pictures
from yolor_jax.runs.opening import load
from yolor_jax.weights.store import save_variables


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run whose network sees an object in each cell."""
    folder = tmp_path_factory.mktemp("run")
    save_run(folder, grid_detector()[1])
    return folder


@pytest.fixture(scope="module")
def trained(run):
    return load(run)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def test_a_workdir_a_step_of_it_and_a_file_are_the_same(run, trained, tmp_path, capfd):
    save_variables(tmp_path / "w.safetensors", trained.variables, {**META, "fused": False})
    for path in (run, run / "checkpoints" / "1", tmp_path / "w.safetensors"):
        jax.tree.map(np.testing.assert_array_equal, load(path).variables, trained.variables)
        assert load(path).spec == trained.spec
    assert trained.class_names == ("cat", "dog", "sheep") and trained.image_size == 64
    assert capfd.readouterr() == ("", "")  # nothing is said, by nobody


@pytest.mark.parametrize("path", ["gone", "gone.safetensors"])
def test_nothing_to_open_is_a_sentence(tmp_path, path):
    with pytest.raises(OSError, match=path):
        load(tmp_path / path)


def test_weights_that_are_not_finite_are_named(trained, tmp_path):
    leaves = jax.tree.map(np.copy, trained.variables)
    for value in (np.nan, np.inf):
        leaves["params"]["backbone"]["stem"]["conv"]["kernel"][0, 0, 0, 0] = value
        save_variables(tmp_path / "w.safetensors", leaves, {**META, "fused": False})
        with pytest.raises(InputError, match="params/backbone/stem/conv/kernel"):
            load(tmp_path / "w.safetensors")


def test_a_step_is_of_a_run(run, trained, tmp_path):
    save_variables(tmp_path / "w.safetensors", trained.variables, {**META, "fused": False})
    with pytest.raises(InputError, match="file of weights, in which there is no step 1"):
        load(tmp_path / "w.safetensors", 1)
    with pytest.raises(FileNotFoundError, match="was evaluated"):
        load(run, "best")
    assert load(run, "latest").meta == load(run, 1).meta


def test_loading_says_nothing_in_a_process_of_its_own(run):
    """Where nobody listens to the loggers of libraries, Python prints their warnings."""
    program = f"import yolor_jax; yolor_jax.load({str(run)!r}).folded()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_kind_of_image_gives_the_same_boxes(trained, image, tmp_path):
    class Pillow:
        """What is asked of an image of PIL."""

        def getbands(self):
            return ("R", "G", "B")

        def convert(self, mode):
            assert mode == "RGB"
            return image

    path = tmp_path / "a.png"
    cv2.imwrite(str(path), image[..., ::-1])
    alone = [image, path, str(path), path.read_bytes(), Pillow()]
    for given in alone:
        [found] = trained.predict(given)
        np.testing.assert_allclose(found.boxes_xyxy, grid_boxes(64, 64), atol=1e-3)
        np.testing.assert_allclose(found.scores, SCORE, atol=1e-5)
        assert found.names == ["dog"] * 64 and set(found.labels.tolist()) == {CLASS}
    assert [len(found) for found in trained.predict(alone)] == [64] * 5
    assert len(trained.predict(np.stack([image, image]))) == 2
    assert trained.predict([]) == []


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (np.zeros((64, 64), np.uint8), ValueError, "for a grey image stack it three times"),
        (np.zeros((64, 64, 4), np.uint8), ValueError, r"of RGBA take image\[..., :3\]"),
        (np.zeros((64, 64, 3)), TypeError, "float64, expected a NumPy array of uint8"),
        (b"no image", ValueError, "no image of a known format"),
        ("gone.jpg", OSError, "gone.jpg"),
        (7, TypeError, "int, expected a NumPy array"),
    ],
    ids=str,
)
def test_what_is_no_image_gets_a_sentence(trained, given, error, sentence):
    with pytest.raises(error, match=sentence):
        trained.predict(given)


def test_a_picture_that_a_camera_has_turned_is_upright(trained):
    """Stored 32 x 64 pixels and turned by a quarter: boxes are in pixels of 64 x 32."""
    stored = cv2.imencode(".jpg", np.zeros((32, 64, 3), np.uint8))[1].tobytes()
    [found] = trained.predict(with_orientation(stored, 6))
    assert found.boxes_xyxy[:, 2].max() == 32 and found.boxes_xyxy[:, 3].max() == 64


def test_results_for_others(trained, image):
    [found] = trained.predict(image)
    entry = found.to_coco(5)[0]
    assert entry["image_id"] == 5 and entry["category_id"] == found.category_ids[CLASS]
    assert entry["bbox"] == pytest.approx([0, 0, 8, 8], abs=1e-3)
    assert repr(found) == "Found(64 dog)"


def test_settings_of_a_predictor(trained, image):
    assert [len(f) for f in trained.predictor(score=0.8, batch_size=2)([image] * 3)] == [0] * 3
    assert len(trained.predictor(classes=["cat", 2])(image)[0]) == 0
    assert len(trained.predictor(classes=["dog"])(image)[0]) == 64
    [found] = trained.predictor(image_size=96, dtype=jnp.bfloat16)(image)
    assert len(found) == 144 and found.boxes_xyxy.dtype == np.float32
    with pytest.raises(InputError, match="no class 'cow'; expected some of cat, dog, sheep"):
        trained.predictor(classes=["cow"])
    with pytest.raises(InputError, match="100"):
        trained.predictor(image_size=100)


def test_threads_share_one_program(run, image, monkeypatch):
    made, together = [], threading.Barrier(4)
    make = library.Predictor
    monkeypatch.setattr(
        library, "Predictor", lambda *a, **k: made.append(make(*a, **k)) or made[-1]
    )
    network = load(run)

    def predict(_):
        together.wait()
        return network.predict(image)[0].boxes_xyxy

    with ThreadPoolExecutor(4) as threads:
        for boxes_xyxy in threads.map(predict, range(4)):
            np.testing.assert_allclose(boxes_xyxy, grid_boxes(64, 64), atol=1e-3)
    [predictor] = made
    assert predictor._predict._cache_size() == 1


def test_folded_once_and_not_twice(trained):
    assert trained.folded().fused and not trained.fused
    with pytest.raises(InputError, match="folded"):
        trained.folded().folded()


def test_module_and_variables_are_for_jax(trained):
    module = trained.module
    variables = jax.tree.map(jnp.asarray, trained.variables)
    images = jnp.zeros((1, 64, 64, 3))

    def total(params):
        outputs = module.apply({**variables, "params": params}, images)
        return sum(level.sum() for level in outputs.detect)

    gradients = jax.jit(jax.grad(total))(variables["params"])
    bias = gradients["head"]["level0"]["conv"]["bias"]
    np.testing.assert_allclose(bias, 64.0)  # one for each cell


def test_the_module_is_for_nnx(trained):
    def call():
        bridged = flax.nnx.bridge.ToNNX(trained.module, rngs=flax.nnx.Rngs(0))
        images = jnp.zeros((1, 64, 64, 3))
        return flax.nnx.bridge.lazy_init(bridged, images)(images)

    assert flax.nnx.eval_shape(call).detect[0].shape == (1, 8, 8, 3, 8)


def test_as_few_pixels_as_the_network_takes(trained, tmp_path):
    """Boxes are in pixels of the whole picture, whatever it was decoded to; arrays are as given."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 512, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data)
    finder = trained.predictor(scaled_decode=True)
    [small] = as_pictures(data, finder.predictor.enough_hw)
    assert (small.factor, small.image.shape) == (8, (32, 64, 3))
    given = [data, tmp_path / "a.jpg", noise, with_orientation(data, 6)]
    *straight, turned = finder(given)
    for found, whole in zip(straight, trained.predict(given[:3]), strict=True):
        assert len(found) == len(whole) == 32
        np.testing.assert_allclose(found.boxes_xyxy, whole.boxes_xyxy, atol=1e-2)
    assert turned.boxes_xyxy[:, 2].max() == 256 and turned.boxes_xyxy[:, 3].max() == 512
    with pytest.raises(InputError, match=r"a\.jpg: truncated"):
        (tmp_path / "a.jpg").write_bytes(data[:1000])
        finder(tmp_path / "a.jpg")
    with pytest.raises(OSError, match="gone"):
        finder("gone.jpg")


def test_what_was_decoded_smaller_than_it_is_cannot_be_drawn(trained, tmp_path):
    predictor = trained.predictor(scaled_decode=True).predictor
    writer = open_writer("json", tmp_path, {"class_names": ["dog"]})
    with pytest.raises(InputError, match="not the pixels for pictures='crops'; expected none"):
        Detection(predictor, trained.class_names, writer, tmp_path, pictures="crops")
