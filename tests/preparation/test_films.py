"""The built-in films: objects that move and return, always looking the same."""

import numpy as np
import pytest

from yolor_jax.data.encoded import decode
from yolor_jax.preparation import films, painting
from yolor_jax.preparation.dataset import count_classes, open_dataset

SIZES = {"train": 24, "validation": 8}


@pytest.fixture(scope="module")
def drawn():
    return [films.draw(seed=0, split="train", index=i) for i in range(40)]


def test_equal_arguments_give_the_equal_frame(drawn):
    again = films.draw(seed=0, split="train", index=11)
    assert again.jpeg == drawn[11].jpeg and again.annotations == drawn[11].annotations
    for other in ({"seed": 1}, {"split": "validation"}, {"index": 12}):
        arguments = {"seed": 0, "split": "train", "index": 11, **other}
        assert films.draw(**arguments).jpeg != drawn[11].jpeg


def test_an_identity_has_one_class_is_once_in_a_frame_and_returns(drawn):
    classes, shown_in = {}, {}
    for index, record in enumerate(drawn):
        seen = [entry["identity"] for entry in record.annotations]
        assert len(set(seen)) == len(seen) and not any(e["iscrowd"] for e in record.annotations)
        for entry in record.annotations:
            classes.setdefault(entry["identity"], set()).add(entry["category_id"])
            shown_in.setdefault(entry["identity"], set()).add(index // films.FRAMES)
    assert all(len(each) == 1 for each in classes.values())
    assert sum(len(each) > 1 for each in shown_in.values()) > 3  # in several films


def test_it_moves_within_its_film(drawn):
    one, other = (
        {e["identity"]: e["bbox"] for e in drawn[i].annotations} for i in (0, films.FRAMES - 1)
    )
    assert one.keys() & other.keys()
    assert all(one[i][:2] != other[i][:2] for i in one.keys() & other.keys())


def test_marking_and_body_have_the_colours_of_the_look():
    key = [0, films.VERSION, *b"train"]
    body, marking = np.float32([250, 20, 20]), np.float32([20, 20, 250])
    disc = painting.Shape(0, np.array([40.0, 40.0]), 20.0, 0.0, body, 5, marking)
    picture = np.full((80, 80, 3), 128, np.float32)
    painting.paint(np.random.default_rng(key), picture, painting.place(disc, 80, 80))
    assert picture[30, 40].argmax() == 0 and picture[52, 40].argmax() == 2


def test_other_splits_show_other_objects():
    looks = [films.look([0, films.VERSION, *s], 3).colour for s in (b"train", b"validation")]
    assert np.abs(looks[0] - looks[1]).max() > 1


def test_the_data_set_by_its_name(tmp_path):
    source = open_dataset("shapes_film", "train", tmp_path, shapes_sizes=SIZES, progress=False)
    assert len(source) == 24 and 5 < source.targets.identities <= films.POOL
    example = source[9]
    assert len(example.identity) == len(example.labels) and (example.identity >= 0).all()
    assert decode(example.jpeg).shape == (112, 144, 3)
    assert count_classes("shapes_film", "train") == 6
