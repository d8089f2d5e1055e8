"""The first images of a split as a split of their own."""

import numpy as np
import pytest

from yolor_jax.data.pipeline import eval_batches, train_batches
from yolor_jax.data.sources import open_source
from yolor_jax.data.subset import Subset, first_images
from yolor_jax.preparation import shapes


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = shapes.prepare(tmp_path_factory.mktemp("data"), sizes={"train": 14}, progress=False)
    return open_source(folder, "train")


def test_first_images_by_id_that_show_an_object(source):
    few = first_images(source, 12)
    # Every tenth picture of the shapes, from the tenth on, is empty.
    assert few.image_ids == (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13)
    assert len(few) == 12
    assert few[9].index == 9
    assert few.name(9) == source.name(10)
    np.testing.assert_array_equal(few[9].boxes_xyxy, source[10].boxes_xyxy)


def test_ground_truth_is_that_of_the_chosen_images(source):
    chosen = Subset(source, (3, 1))
    truth = chosen.ground_truth()
    assert {image["id"] for image in truth["images"]} == set(chosen.image_ids) == {2, 4}
    assert {a["image_id"] for a in truth["annotations"]} <= {2, 4}
    assert len(truth["annotations"]) == sum(
        len(example.labels) for example in (chosen[0], chosen[1])
    )


def test_the_pipeline_reads_a_subset(source):
    few = first_images(source, 3)
    settings = {"image_size": 32, "batch_size": 3, "max_targets": 8}
    [batch] = eval_batches(few, **settings)
    assert batch.index.tolist() == [0, 1, 2]
    batch = next(train_batches(few, seed=0, **settings))
    assert sorted(batch.index.tolist()) == [0, 1, 2]


def test_more_than_there_are(source):
    with pytest.raises(ValueError, match=r"13 images with an object, .* 14"):
        first_images(source, 14)
