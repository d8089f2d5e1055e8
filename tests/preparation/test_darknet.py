"""Darknet's obj.data in the place of data.yaml, as Darknet itself and as CVAT have it."""

import pytest

from tests.support import formats as writers
from tests.support.coco_folder import jpeg
from yolor_jax.data.sources import open_source
from yolor_jax.errors import InputError
from yolor_jax.preparation import formats
from yolor_jax.preparation.prepare import prepare

SETTINGS = """# a comment
classes = 2
train = data/train.txt
valid=data/valid.txt
names = data/obj.names
backup = backup/
"""


def write(folder, settings=SETTINGS):
    """Two splits with one image each; all paths begin with data/, whatever the folder is called."""
    for split, name, line in (("train", "a", "0 0.5 0.5 0.5 0.5"), ("valid", "b", "1 .5 .5 1 1")):
        images = folder / "obj"
        images.mkdir(parents=True, exist_ok=True)
        (images / f"{name}.jpg").write_bytes(jpeg(48, 64))
        writers.write_text(images / f"{name}.txt", line)
        writers.write_text(folder / f"{split}.txt", f"data/obj/{name}.jpg\n")
    writers.write_text(folder / "obj.names", "cat\ndog\n")
    writers.write_text(folder / "obj.data", settings)
    return folder


@pytest.mark.parametrize("name", ["data", "task_1"])
def test_a_folder_and_its_file(tmp_path, name):
    folder = write(tmp_path / name)
    for path in (folder, folder / "obj.data"):
        format_ = formats.require(path)
        assert format_.recognises(path) == "obj.data"
        assert format_.find_splits(path) == ["train", "valid"]
        report = prepare(path, "valid", tmp_path / "prepared", progress=False)
        source = open_source(report.directory, "valid")
        assert source.class_names == ("cat", "dog") and source[0].labels.tolist() == [1]
        assert source[0].boxes_xyxy.tolist() == [[0, 0, 64, 48]]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (SETTINGS.replace("classes = 2", "classes = 3"), "classes is 3, and there are 2 names"),
        (SETTINGS.replace("obj.names", "no.names"), r"names is 'data/no\.names'; expected"),
        (SETTINGS.replace("names", "labels"), "names is ''; expected"),
        (SETTINGS + "train = data/valid.txt\n", "each key once"),
        (SETTINGS + "train\n", "key = value"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, wrong, sentence):
    folder = write(tmp_path / "pets", wrong)
    with pytest.raises(InputError, match=sentence):
        prepare(folder, "train", tmp_path / "prepared", progress=False)


def test_a_split_that_is_not_there(tmp_path):
    folder = write(tmp_path / "pets")
    (folder / "valid.txt").unlink()
    assert "valid: " in formats.require(folder).recognises(folder)
    with pytest.raises(InputError, match=r"split 'valid' are missing: .*obj\.data names"):
        prepare(folder, "valid", tmp_path / "prepared", progress=False)
