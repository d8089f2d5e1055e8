"""The programs of a real run: each is compiled once, and the state is given away, never copied."""

import jax
import pytest
from small_recipe import small_recipe

from yolor_jax.cli import program
from yolor_jax.cli.run import train
from yolor_jax.data.preparation import shapes

pytestmark = pytest.mark.long


class Watched:
    """A compiled function, and whether the arrays of its first argument are gone after a call."""

    def __init__(self, function):
        self.function = function
        self.gone = []

    def __call__(self, first, *rest):
        result = self.function(first, *rest)
        self.gone.append(all(leaf.is_deleted() for leaf in jax.tree.leaves(first)))
        return result


def test_a_run_compiles_each_program_once_and_donates_its_state(tmp_path, monkeypatch):
    sizes = {"train": 16, "validation": 12}  # the last batch of the evaluation is not full
    config = small_recipe(shapes.prepare(tmp_path, sizes=sizes, progress=False))
    config.mesh.fsdp = 2
    steps, predictions = [], []

    def watch(make, made):
        def watched(*args, **settings):
            made.append(Watched(make(*args, **settings)))
            return made[-1]

        return watched

    monkeypatch.setattr(program, "make_step", watch(program.make_step, steps))
    monkeypatch.setattr(program, "make_prediction", watch(program.make_prediction, predictions))
    train.run(config, tmp_path / "run")
    (step,) = steps
    assert step.gone == [True] * 4 and step.function._cache_size() == 1
    trained, folded = predictions
    assert trained.gone == [False] * 4 and trained.function._cache_size() == 1
    assert folded.gone == [False] * 2 and folded.function._cache_size() == 1
