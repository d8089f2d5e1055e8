"""The built-in data set: deterministic, with everything in it that evaluation must cope with."""

import cv2
import numpy as np
import pytest

from yolor_jax.data.encoded import decode
from yolor_jax.data.sources import open_source
from yolor_jax.preparation import painting, shapes
from yolor_jax.preparation.dataset import open_dataset

SIZES = {"train": 12, "validation": 6}


@pytest.fixture(scope="module")
def drawn():
    return [shapes.draw(seed=1, split="train", index=i) for i in range(100)]


def objects_of(record):
    """Boxes and entries of the single objects."""
    pairs = zip(record.boxes_xyxy, record.annotations, strict=True)
    return [(box, entry) for box, entry in pairs if not entry["iscrowd"]]


def test_equal_arguments_give_the_equal_picture(drawn):
    again = shapes.draw(seed=1, split="train", index=3)
    assert again.jpeg == drawn[3].jpeg and again.annotations == drawn[3].annotations
    np.testing.assert_array_equal(again.boxes_xyxy, drawn[3].boxes_xyxy)
    for other in ({"seed": 2}, {"split": "validation"}, {"index": 13}):
        arguments = {"seed": 1, "split": "train", "index": 3, **other}
        assert shapes.draw(**arguments).jpeg != drawn[3].jpeg


def test_night_is_the_same_scenes_in_a_dim_blue_light(drawn):
    night = shapes.draw(seed=1, split="train", index=3, light=shapes.LIGHTS["shapes_night"])
    assert night.annotations == drawn[3].annotations
    day, dark = (decode(record.jpeg).mean((0, 1)) for record in (drawn[3], night))
    np.testing.assert_allclose(dark / day, [0.25, 0.35, 0.8], atol=0.03)


def test_boxes_and_areas(drawn):
    for record in drawn:
        height, width = decode(record.jpeg).shape[:2]
        assert (record.image["height"], record.image["width"]) == (height, width)
        assert 96 <= min(height, width) <= 120 <= max(height, width) <= 160
        for box, label, entry in zip(
            record.boxes_xyxy, record.labels, record.annotations, strict=True
        ):
            left, top, right, bottom = box
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            assert entry["bbox"] == [left, top, right - left, bottom - top]
            assert entry["category_id"] == label + 1
            assert 0 < entry["area"] < 1.1 * (right - left) * (bottom - top)
    assert any(entry["area"] % 1 for record in drawn for entry in record.annotations)


def test_the_mixture(drawn):
    empty = [i for i, record in enumerate(drawn) if not record.annotations]
    assert empty == list(range(9, 100, 10))
    crowds = [sum(entry["iscrowd"] for entry in record.annotations) for record in drawn]
    assert 8 <= sum(crowds) <= 10 and max(crowds) == 1
    assert max(len(objects_of(record)) for record in drawn) == 6
    labels = np.concatenate([record.labels for record in drawn])
    assert np.bincount(labels, minlength=6).min() > 20
    assert len({decode(record.jpeg).shape for record in drawn}) > 50


def test_sizes_differ_and_objects_overlap(drawn):
    ratios, overlapping = [], 0
    for record in drawn:
        boxes = np.array([box for box, _ in objects_of(record)])
        if len(boxes) < 2:
            continue
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        ratios.append(sides.max() / sides.min())
        corners = np.maximum(boxes[:, None, :2], boxes[:, :2])
        sizes = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - corners
        overlapping += (sizes.min(axis=-1) > 0).sum() > len(boxes)
    assert np.mean(np.array(ratios) >= 4) > 0.9  # the rest: partly hidden or cut by the border
    assert overlapping > 0.6 * len(ratios)


def square(centre, half):
    """An upright square; `half` is half of its side."""
    radius = half * 2**0.5 / 1.15
    return painting.Shape(1, np.array(centre, float), radius, np.pi / 4, np.zeros(3, np.float32))


def test_boxes_are_what_can_be_seen():
    """A square of side 40 at the left half of which a second one lies; a third is hidden."""
    back, hidden, front = square((60, 50), 20), square((45, 50), 5), square((40, 50), 20)
    groups, coverages = shapes.leave_out_hidden([[back], [hidden], [front]], 100, 120)
    assert [group[0].shape for group in groups] == [back, front]
    np.testing.assert_allclose(shapes.extent(coverages[0]), (60, 30, 80, 70), atol=1)
    np.testing.assert_allclose(shapes.extent(coverages[1]), (20, 30, 60, 70), atol=1)
    np.testing.assert_allclose(coverages[0].sum(), 20 * 40, rtol=0.05)
    np.testing.assert_allclose(coverages[1].sum(), 40 * 40, rtol=0.05)


@pytest.mark.parametrize("label", range(6))
def test_coverage_against_analytic_area(label):
    radius = 30.0
    shape = painting.Shape(label, np.array([64.0, 60.0]), radius, 0.3, np.zeros(3, np.float32))
    corner = 1.15 * radius
    expected = {
        "disc": np.pi * radius**2,
        "square": 2 * corner**2,
        "triangle": 0.75 * 3**0.5 * corner**2,
        "star": 5 * corner * 0.48 * radius * np.sin(np.pi / 5),
        "ring": np.pi * radius**2 * (1 - 0.52**2),
        "cross": (4 * 0.68 - 0.68**2) * radius**2,
    }[painting.CLASS_NAMES[label]]
    placed = painting.place(shape, 120, 128)
    np.testing.assert_allclose(placed.coverage.sum(), expected, rtol=0.04)


def test_prepared_once_and_read_like_any_other(tmp_path):
    source = open_dataset("shapes", "train", tmp_path, shapes_sizes=SIZES, progress=False)
    before = (source.directory / "dataset_info.json").stat().st_mtime_ns
    validation = open_dataset("shapes", "validation", tmp_path, shapes_sizes=SIZES, progress=False)
    assert (source.directory / "dataset_info.json").stat().st_mtime_ns == before
    assert source.directory == validation.directory
    assert (len(source), len(validation)) == (12, 6)
    assert source.class_names == painting.CLASS_NAMES
    truth = source.ground_truth()
    ids = [entry["id"] for entry in truth["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert any(
        isinstance(entry["area"], float) and entry["area"] % 1 for entry in truth["annotations"]
    )
    record = shapes.draw(seed=0, split="train", index=4)
    assert source[4].jpeg == record.jpeg
    np.testing.assert_array_equal(source[4].boxes_xyxy, record.boxes_xyxy)
    assert source[4].is_crowd.sum() == 1
    assert source.name(4) == "train_000004.jpg"
    with pytest.raises(ValueError, match=r"it has \['train', 'validation'\]"):
        open_source(source.directory, "test")
    assert cv2.imdecode(np.frombuffer(record.jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
