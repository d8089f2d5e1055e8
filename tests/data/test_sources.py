"""Sources: one format out of every kind of data set, exact numbers, and sentences for the rest."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.support.coco_folder import write
from yolor_jax.data.classes import COCO_CATEGORY_IDS, COCO_NAMES
from yolor_jax.data.encoded import decode
from yolor_jax.data.sources import open_source
from yolor_jax.data.targets import ground_truth_path, targets_path
from yolor_jax.preparation.dataset import open_dataset


@pytest.fixture(scope="module")
def coco128(shared, tmp_path_factory):
    """The real images, prepared."""
    folder = shared / "data" / "coco128"
    prepared = tmp_path_factory.mktemp("prepared")
    return open_dataset(folder, "val2017", prepared, progress=False)


@pytest.fixture
def bare(coco128, tmp_path):
    """The same TFDS directory as somebody else would have prepared it: without sidecars."""
    directory = tmp_path / "coco" / "2017" / "1.1.0"
    shutil.copytree(coco128.directory, directory)
    ground_truth_path(directory, "val2017").unlink()
    targets_path(directory, "val2017").unlink()
    return directory


@pytest.fixture
def pets(tmp_path):
    folder = write(tmp_path / "pets")
    return open_dataset(folder, "val", tmp_path / "prepared", progress=False)


@pytest.fixture(scope="module")
def original(shared):
    path = shared / "data" / "coco128" / "annotations" / "instances_val2017.json"
    return json.loads(path.read_text())


def test_every_number_of_the_original_survives(coco128, original):
    assert coco128.class_names == COCO_NAMES
    assert coco128.category_ids == COCO_CATEGORY_IDS
    truth = coco128.ground_truth()
    assert truth["images"] == original["images"]
    assert sorted(truth["annotations"], key=lambda a: a["id"]) == original["annotations"]
    assert truth["categories"] == [
        {k: c[k] for k in ("id", "name")} for c in original["categories"]
    ]
    assert coco128.image_ids == tuple(image["id"] for image in original["images"])


def test_a_known_annotation(coco128):
    """Annotation 1 of val2017: a potted plant (category 64) in image 139, which has 426 x 640."""
    example = coco128[coco128.image_ids.index(139)]
    assert coco128.name(example.index) == "000000000139.jpg"
    assert decode(example.jpeg).shape == (426, 640, 3)
    expected = np.float32([236.98, 142.51, 236.98 + 24.7, 142.51 + 69.5])
    np.testing.assert_array_equal(example.boxes_xyxy[0], expected)
    assert coco128.class_names[example.labels[0]] == "potted plant"
    assert example.boxes_xyxy.dtype == np.float32
    assert example.labels.dtype == np.int32 and example.is_crowd.dtype == bool


def test_features_are_those_of_coco_2017(coco128):
    builder = tfds.builder_from_directory(coco128.directory)
    assert builder.info.file_format is tfds.core.FileFormat.ARRAY_RECORD
    assert json.loads(builder.info.as_json)["name"] == "coco128"
    spec = builder.info.features.get_tensor_info()
    objects = {k: (v.shape, np.dtype(v.np_dtype)) for k, v in spec.pop("objects").items()}
    assert objects == {
        "area": ((None,), np.int64),
        "bbox": ((None, 4), np.float32),
        "id": ((None,), np.int64),
        "is_crowd": ((None,), np.bool_),
        "label": ((None,), np.int64),
    }
    assert spec["image"].shape == (None, None, 3) and spec["image"].np_dtype == np.uint8
    assert spec["image/id"].np_dtype == np.int64
    assert set(spec) == {"image", "image/filename", "image/id"}
    assert builder.info.features["image"].encoding_format == "jpeg"
    record = builder.as_data_source("val2017")[0]  # TFDS decodes it, too
    assert record["image"].shape == (426, 640, 3)


def test_without_sidecars_the_features_serve(coco128, bare):
    source = open_source(bare.parents[1], "val2017")  # found two levels below
    assert source.category_ids == COCO_CATEGORY_IDS
    assert source.image_ids == coco128.image_ids
    for index in range(len(source)):
        got, expected = source[index], coco128[index]
        assert got.jpeg == expected.jpeg and got.index == index
        np.testing.assert_allclose(got.boxes_xyxy, expected.boxes_xyxy, atol=1e-4)
        np.testing.assert_array_equal(got.labels, expected.labels)
        np.testing.assert_array_equal(got.is_crowd, expected.is_crowd)
    truth, exact = source.ground_truth(), coco128.ground_truth()
    assert truth["images"] == exact["images"] and truth["categories"] == exact["categories"]
    for got, expected in zip(truth["annotations"], exact["annotations"], strict=True):
        np.testing.assert_allclose(got.pop("bbox"), expected.pop("bbox"), atol=1e-3)
        assert got.pop("area") == int(expected.pop("area"))  # TFDS cuts it
        assert got == expected


def test_given_annotations_bring_exact_areas(bare, original, tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(original))
    truth = open_source(bare, "val2017", path).ground_truth()
    assert truth["annotations"] == original["annotations"]
    del original["images"][0]
    path.write_text(json.dumps(original))
    with pytest.raises(
        ValueError, match=r"lacks 1 images of the split val2017 \(the first: id 139"
    ):
        open_source(bare, "val2017", path).ground_truth()
    original["categories"][0]["name"] = "human"
    path.write_text(json.dumps(original))
    with pytest.raises(ValueError, match=r"names other categories than the data set.*human"):
        open_source(bare, "val2017", path)


def test_many_threads(coco128):
    order = np.random.default_rng(0).integers(0, len(coco128), 400)
    expected = [coco128[i].jpeg for i in range(len(coco128))]
    with ThreadPoolExecutor(8) as pool:
        assert all(e.jpeg == expected[e.index] for e in pool.map(coco128.__getitem__, order))


def test_other_category_lists_count_from_one(pets, tmp_path):
    directory = tmp_path / "bare"
    shutil.copytree(pets.directory, directory)
    ground_truth_path(directory, "val").unlink()
    targets_path(directory, "val").unlink()
    source = open_source(directory, "val")
    assert source.class_names == ("dog", "cat", "toothbrush")
    assert source.category_ids == (1, 2, 3)


def test_positions(pets):
    assert len(pets) == 4
    for index in (4, -1):
        with pytest.raises(IndexError, match=f"got position {index} in a split of 4 images"):
            pets[index]
    assert pets[np.int64(3)].index == 3


def test_tfrecord_is_refused(pets):
    path = pets.directory / "dataset_info.json"
    path.write_text(path.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"holds tfrecord files.*yolor prepare"):
        open_source(pets.directory, "val")


def test_other_refusals(pets, tmp_path):
    with pytest.raises(ValueError, match=r"has no split 'train'; it has \['val'\]"):
        open_source(pets.directory, "train")
    with pytest.raises(ValueError, match="no such folder"):
        open_dataset(tmp_path / "nowhere", "val", tmp_path)
    shutil.copytree(pets.directory, tmp_path / "both" / "a")
    shutil.copytree(pets.directory, tmp_path / "both" / "b")
    with pytest.raises(ValueError, match="holds several data sets, name one"):
        open_source(tmp_path / "both", "val")
    features = pets.directory / "features.json"
    features.write_text(features.read_text().replace('"is_crowd"', '"is_group"'))
    with pytest.raises(ValueError, match=r"lacks the features \['objects/is_crowd'\]; expected"):
        open_source(pets.directory, "val")


def test_sidecar_of_another_data_set(pets):
    path = targets_path(pets.directory, "val")
    with np.load(path) as arrays:
        arrays = dict(arrays)
    arrays["image_ids"] = arrays["image_ids"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="does not belong to the records beside it"):
        open_source(pets.directory, "val")[0]


@pytest.mark.parametrize(
    "change",
    [lambda known: known[:-1], lambda known: known.astype(float), lambda known: known - 2],
    ids=["too few", "no integers", "below none"],
)
def test_identities_of_another_kind(pets, change):
    path = targets_path(pets.directory, "val")
    with np.load(path) as arrays:
        arrays = dict(arrays)
    known = np.arange(len(arrays["labels"]), dtype=np.int32)
    np.savez(path, **arrays | {"identity": known})
    assert open_source(pets.directory, "val")[0].identity is not None
    np.savez(path, **arrays | {"identity": change(known)})
    with pytest.raises(ValueError, match="does not belong to the"):
        open_source(pets.directory, "val")[0]
