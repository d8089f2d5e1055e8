"""The programs of a real run: each is compiled once, and the state is given away, never copied."""

import collections
import re

import jax
import pytest

from tests.support.small_recipe import small_recipe, train
from yolor_jax.preparation import shapes
from yolor_jax.runs import programs
from yolor_jax.training.multi_scale import drawn_size
from yolor_jax.training.programs import compile_log

pytestmark = pytest.mark.long

SIZES = (32, 64)
STEPS = 6


class Watched:
    """A compiled function, and whether the arrays of its first argument are gone after a call."""

    def __init__(self, function):
        self.function = function
        self.gone = []

    def __call__(self, first, *rest):
        result = self.function(first, *rest)
        self.gone.append(all(leaf.is_deleted() for leaf in jax.tree.leaves(first)))
        return result


def test_a_run_compiles_each_program_once_and_donates_its_state(tmp_path, monkeypatch, capsys):
    """Steps at two sizes with two evaluations between them, then the folded network's."""
    sizes = {"train": 16, "validation": 12}  # the last batch of the evaluation is not full
    config = small_recipe(shapes.prepare(tmp_path, sizes=sizes, progress=False))
    config.multi_scale = SIZES
    config.epochs = 3.0
    config.eval.every_epochs = 1.5
    config.mesh.fsdp = 2
    steps, predictions = {}, []

    def make_steps(*args, make=programs.make_steps, **settings):
        made = make(*args, **settings)
        steps.update({side: Watched(step) for side, step in made.items()})
        return steps

    def make_prediction(*args, make=programs.make_prediction, **settings):
        predictions.append(Watched(make(*args, **settings)))
        return predictions[-1]

    monkeypatch.setattr(programs, "make_steps", make_steps)
    monkeypatch.setattr(programs, "make_prediction", make_prediction)
    monkeypatch.setattr(compile_log, "NOTABLE", 0.0)  # every compilation gets its line
    train(config, tmp_path / "run")

    drawn = collections.Counter(drawn_size(SIZES, config.seed, step) for step in range(STEPS))
    assert all(drawn[side] > 1 for side in SIZES)
    for side, step in steps.items():
        assert step.gone == [True] * drawn[side] and step.function._cache_size() == 1
    trained, folded = predictions
    assert trained.gone == [False] * 4 and trained.function._cache_size() == 1
    assert folded.gone == [False] * 2 and folded.function._cache_size() == 1
    # An earlier test of this process may have turned the cache on: loading counts as compiling.
    said = collections.Counter(re.findall(r"(?:compiled|loaded) (\w+)", capsys.readouterr().out))
    assert said["train_step"] == len(SIZES)
    assert said["predict"] == 2  # trained and folded
    assert said["predict_and_describe"] == 1  # for the pictures
