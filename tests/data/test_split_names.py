"""Which split is trained on, and which evaluated on, by their names."""

import pytest

from yolor_jax.data import split_names


@pytest.mark.parametrize(
    ("splits", "training", "evaluation"),
    [
        (["test", "train", "valid"], "train", "valid"),
        (["Test", "Training"], "Training", "Test"),
        (["extra", "train"], "train", "extra"),  # not that of training where there is another
        (["a", "b"], "a", "b"),
        (["train"], "train", "train"),
        (["val"], None, "val"),
    ],
)
def test_splits_by_their_names(splits, training, evaluation):
    assert split_names.for_training(splits) == training
    assert split_names.for_evaluation(splits) == evaluation
