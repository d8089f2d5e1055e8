"""All objects of a split at once: from the sidecar, from an older one, from records alone."""

import shutil

import numpy as np
import pytest

from yolor_jax.data.objects import Objects, all_objects, network_sizes, some_objects
from yolor_jax.data.sources import Source, open_source
from yolor_jax.data.subset import Subset
from yolor_jax.data.targets import targets_path
from yolor_jax.preparation import shapes

IMAGES = 12


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    sizes = {"train": IMAGES, "validation": 1}
    return shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)


@pytest.fixture(scope="module")
def bare(prepared, tmp_path_factory):
    """The same records as another program would have left them."""
    directory = tmp_path_factory.mktemp("bare") / "shapes"
    shutil.copytree(prepared, directory)
    targets_path(directory, "train").unlink()
    return directory


@pytest.fixture
def no_records(monkeypatch):
    """Reading a record is an error."""

    def refuse(*_):
        raise AssertionError("a record was read")

    monkeypatch.setattr(Source, "__getitem__", refuse)


def by_hand(source):
    """What the records say, one by one."""
    rows = [(i, *source[i][1:4]) for i in range(len(source))]
    boxes = np.concatenate([boxes[~crowd] for _, boxes, _, crowd in rows])
    labels = np.concatenate([labels[~crowd] for _, _, labels, crowd in rows])
    return np.repeat(range(len(source)), [(~crowd).sum() for *_, crowd in rows]), boxes, labels


def check(got, source):
    image, boxes, labels = by_hand(source)
    np.testing.assert_array_equal(got.image, image)
    np.testing.assert_allclose(got.boxes_xyxy, boxes, atol=1e-4)
    np.testing.assert_array_equal(got.labels, labels)
    images = {image["id"]: image for image in source.ground_truth()["images"]}
    sizes = [[images[i]["height"], images[i]["width"]] for i in source.image_ids]
    np.testing.assert_array_equal(got.size_hw, sizes)


def test_the_sidecar_has_all_objects_without_a_record(prepared, request):
    source = open_source(prepared, "train")
    assert len(np.unique(source.targets.size_hw, axis=0)) > 1
    before = by_hand(source)
    request.getfixturevalue("no_records")
    got = all_objects(source)
    for ours, theirs in zip(got[:3], before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    some = some_objects(source, 3, seed=0)
    np.testing.assert_array_equal(some.boxes_xyxy, got.boxes_xyxy)


def test_crowds_are_left_out(prepared):
    source = open_source(prepared, "train")
    crowd = np.arange(len(source.targets.labels)) % 3 == 1
    source._targets = source.targets._replace(is_crowd=crowd)
    check(all_objects(source), source)
    assert len(all_objects(source).labels) == (~crowd).sum()


def test_records_alone(bare):
    source = open_source(bare, "train")
    assert source.targets is None
    check(all_objects(source), source)


def test_an_older_sidecar_has_no_sizes(prepared, tmp_path):
    directory = tmp_path / "shapes"
    shutil.copytree(prepared, directory)
    path = targets_path(directory, "train")
    with np.load(path) as arrays:
        older = {name: array for name, array in arrays.items() if name != "size_hw"}
    np.savez(path, **older)
    source = open_source(directory, "train")
    assert source.targets.size_hw is None
    check(all_objects(source), source)


def test_without_a_sidecar_some_images_are_enough(bare, monkeypatch):
    source = open_source(bare, "train")
    whole = all_objects(source)
    read = []
    original = Source.__getitem__

    def counted(self, index):
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(Source, "__getitem__", counted)
    some, again, _ = (some_objects(source, 5, seed=seed) for seed in (0, 0, 1))
    assert len(read) == 15 and len(set(read[:5])) == 5
    assert read[:5] == read[5:10] != read[10:]
    np.testing.assert_array_equal(some.boxes_xyxy, again.boxes_xyxy)
    chosen = np.isin(whole.image, read[:5])
    np.testing.assert_array_equal(some.boxes_xyxy, whole.boxes_xyxy[chosen])
    assert len(some.size_hw) == 5 and some.image.max() < 5


@pytest.mark.parametrize("kind", ["prepared", "bare"])
def test_a_subset_is_counted_anew(kind, request):
    subset = Subset(open_source(request.getfixturevalue(kind), "train"), (7, 2, 9))
    check(all_objects(subset), subset)


def test_sizes_in_the_network_by_hand():
    objects = Objects(
        image=np.array([0, 1, 1, 1]),
        boxes_xyxy=np.float32([[10, 20, 30, 60], [0, 0, 50, 25], [5, 5, 5, 9], [5, 5, 9, 5]]),
        labels=np.zeros(4, np.int32),
        size_hw=np.int32([[100, 200], [50, 25]]),
    )
    np.testing.assert_allclose(network_sizes(objects, 100), [[10, 20], [100, 50]])
