"""What is said of the images of a recipe before a run begins."""

import pytest

from tests.support.coco_folder import write
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.runs.sources import open_sources, warnings


@pytest.mark.parametrize("crowd", [False, True])
def test_a_split_without_objects_is_said(tmp_path, crowd):
    def edit(coco, images):
        for annotation in coco["annotations"]:
            annotation["iscrowd"] = int(crowd)

    config = small_recipe(write(tmp_path / "pets", edit=edit))
    config.data.update(train_split="val", eval_split="val", prepared=str(tmp_path / "prepared"))
    same, *said = warnings(open_sources(typed(config).data))
    assert "the split 'val' is both trained and evaluated on" in same
    assert len(said) == 2 * crowd
    assert all("no image of the split 'val' has an object" in sentence for sentence in said)
