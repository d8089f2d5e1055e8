"""Pictures of a run's own data, where they are at hand."""

import pytest

from tests.support.small_recipe import small_recipe, typed
from yolor_jax.data.encoded import read_image
from yolor_jax.demo.examples import examples
from yolor_jax.errors import InputError
from yolor_jax.preparation import shapes
from yolor_jax.runs import recipe as recipes


def test_examples_are_spread_over_the_split(tmp_path):
    sizes = {"train": 1, "validation": 5}
    data = shapes.prepare(tmp_path / "data", sizes=sizes, progress=False)
    recipes.save(typed(small_recipe(data)), tmp_path)
    all_of_them = examples(tmp_path, 9)
    assert len(all_of_them) == 5 and all(read_image(one).size for one in all_of_them)
    assert examples(tmp_path, 2) == [all_of_them[0], all_of_them[2]]


def test_nothing_is_prepared_for_them(tmp_path):
    config = small_recipe("shapes")
    config.data.prepared = str(tmp_path / "prepared")
    recipes.save(typed(config), tmp_path)
    with pytest.raises(InputError, match="shapes has not been prepared in"):
        examples(tmp_path, 2)
    assert not (tmp_path / "prepared").exists()
    with pytest.raises(OSError, match=r"no config\.json"):
        examples(tmp_path / "gone", 2)
