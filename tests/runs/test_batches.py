"""The batches that a recipe asks for: where the partners of its mosaics come from."""

import itertools

import numpy as np
import pytest

import yolor_jax
from tests.support import coco_folder
from yolor_jax.runs import sources
from yolor_jax.runs.batches import batch_reader


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    coco_folder.write(folder / "coco", images=20)

    def first_batches(partners, count, *, start=0, mosaic=1.0):
        recipe = yolor_jax.recipe(
            "quickstart",
            image_size=32,
            batch_size=4,
            data={"path": str(folder / "coco"), "prepared": str(folder / "prepared")},
            augment={"mosaic": mosaic, "partners": partners, "group": 4},
        )
        source = sources.open_split(recipe.data, "val")
        return list(itertools.islice(batch_reader(recipe, source)(start=start), count))

    return first_batches


@pytest.mark.parametrize(
    ("partners", "mosaic", "images"),
    [("batch", 1.0, 4), ("recent", 1.0, 16), ("dataset", 1.0, 16), ("recent", 0.0, 4)],
)
def test_each_image_is_followed_by_its_partners(take, partners, mosaic, images):
    [plain], [batch] = take("batch", 1), take(partners, 1, mosaic=mosaic)
    assert batch.image.shape == (images, 32, 32, 3)
    assert np.array_equal(batch.image[:: images // 4], plain.image)
    first = {number: image for number, image in zip(plain.index, plain.image, strict=True)}
    if partners == "recent":  # none but what was read
        assert all(
            np.array_equal(image, first[number])
            for number, image in zip(batch.index, batch.image, strict=True)
        )


@pytest.mark.parametrize("partners", ["batch", "recent", "dataset"])
def test_a_run_that_goes_on_has_the_same_batches(take, partners):
    whole = take(partners, 8)
    for got, want in zip(take(partners, 3, start=5 * 4), whole[5:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))
