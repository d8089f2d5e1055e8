"""SavedModels: what TensorFlow finds is what the network finds. Needs the extra ``tf``."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.exports.conftest import NMS
from tests.exports.test_exported import WITHOUT, assert_same, example
from yolor_jax.errors import InputError
from yolor_jax.exports.files import open_exported
from yolor_jax.exports.predicting import make_predictor
from yolor_jax.exports.savedmodel import METADATA
from yolor_jax.runs import certification
from yolor_jax.runs.trained import Trained

pytest.importorskip("tensorflow", reason="TensorFlow is not installed (extra tf)")
FORMS = {
    "plain": {"batch": None},
    "nms": {"nms": NMS, "batch": 2, "layout": "nchw", "pixels": "float32"},
    "dynamic": {"nms": NMS, "batch": None},
    "bfloat16": {"batch": None, "dtype": "bfloat16"},
}


@pytest.fixture(scope="module")
def models(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("savedmodel")
    return {
        name: network.export(folder / f"{name}.savedmodel", **form) for name, form in FORMS.items()
    }


@pytest.mark.parametrize("name", ("plain", "nms", "dynamic"))
def test_it_finds_what_the_network_finds(models, pictures, found, name):
    predictor = make_predictor(models[name], NMS, batch_size=3)
    assert_same(predictor([image for _, image in pictures]), found)
    assert predictor([]) == []


@pytest.mark.parametrize("name", FORMS)
def test_its_certificate_passes(models, network, pictures, name):
    certificate = certification.certify(network, models[name], iter(pictures), nms=NMS)
    assert certificate["ok"], certification.lines(certificate)
    assert certificate["runtime"].startswith("tensorflow 2.")


def test_the_certificate_of_another_network_does_not(models, network, pictures):
    variables = jax.tree.map(lambda leaf: leaf * np.float32(1.001), network.variables)
    other = Trained(network.spec, variables, network.meta)
    assert not certification.certify(other, models["plain"], iter(pictures), nms=NMS)["ok"]


def test_the_checksum_of_a_folder_is_that_of_its_files(models, tmp_path):
    path = models["plain"].path
    before = certification.checksum(path)
    assert before == certification.checksum(path) != certification.checksum(models["nms"].path)
    (path / "assets.extra" / "notes.txt").write_text("more")
    assert certification.checksum(path) != before
    (path / "assets.extra" / "notes.txt").unlink()


def test_it_runs_where_this_package_and_jax_are_not(models, pictures, tmp_path):
    canvas = pictures[0][1]
    np.save(tmp_path / "images.npy", np.stack([canvas, 255 - canvas]))
    (tmp_path / "quickstart.savedmodel").symlink_to(models["plain"].path)
    program = WITHOUT.format(["yolor_jax", "flax", "jax"])
    program += "import numpy\nimages = numpy.load('images.npy')\n"
    program += example("saved_model") + "numpy.savez('found', **found)\n"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    given = np.load(tmp_path / "found.npz")
    ours = models["plain"].compute(np.load(tmp_path / "images.npy"), ["boxes", "scores"])
    for name, values in ours.items():
        np.testing.assert_array_equal(given[name], values)


def test_what_is_there_is_replaced_only_if_it_is_ours(network, tmp_path):
    mine = tmp_path / "mine.savedmodel"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no export of ours"):
        network.export(mine)
    assert (mine / "thesis.txt").exists()
    network.export(tmp_path / "a.savedmodel")
    again = network.export(tmp_path / "a.savedmodel", batch=2)
    assert again.form.batch == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.savedmodel", "mine.savedmodel"]


def test_what_is_none_is_a_sentence(models, network, tmp_path):
    (tmp_path / "empty.savedmodel").mkdir()
    cut = tmp_path / "cut.savedmodel"
    (cut / METADATA).parent.mkdir(parents=True)
    (cut / METADATA).write_text(json.dumps(models["plain"].metadata))
    (cut / "saved_model.pb").write_bytes(b"\x08")
    for path in (tmp_path / "empty.savedmodel", cut):
        with pytest.raises(InputError, match="no whole SavedModel"):
            open_exported(path)
    with pytest.raises(FileNotFoundError):
        open_exported(tmp_path / "gone.savedmodel")
    with pytest.raises(InputError, match="local folder"):
        network.export("gs://bucket/a.savedmodel")
