"""The recipe of a run that takes seconds: the test model on 64 pixels, a row for each step."""

import os
import pathlib

from ml_collections import ConfigDict

from yolor_jax.cli import train as command
from yolor_jax.configs import quickstart
from yolor_jax.evaluation.evaluate import Evaluation
from yolor_jax.runs import evaluation, recipe
from yolor_jax.runs.opening import load
from yolor_jax.runs.recipe import Recipe
from yolor_jax.training.processes.group import ALONE


def small_recipe(data: str | os.PathLike) -> ConfigDict:
    """The quickstart made small.

    Args:
        data: a TFDS directory with shapes.
    """
    config = quickstart.get_config()
    config.model.name = "yolor_test"
    config.image_size = 64
    config.batch_size = 8
    config.epochs = 2.0
    config.eval.every_epochs = 1.0
    config.eval.batch_size = 8
    config.data.path = str(data)
    config.log_every = 1
    return config


def typed(config: ConfigDict) -> Recipe:
    """The recipe of settings."""
    return recipe.read(config.to_dict())


def train(config: ConfigDict, workdir: str | os.PathLike) -> None:
    """Trains as ``yolor train`` does, in this process, with all that it prints."""
    command.train(typed(config), pathlib.Path(workdir), ALONE)


def evaluate(
    workdir: str | os.PathLike, *, folded: bool = False, **settings: str | int
) -> Evaluation:
    """Evaluates a run on what its recipe says, or on other data, split, size or backend."""
    recipe_ = evaluation.on(recipe.load(pathlib.Path(workdir)), **settings)
    trained = load(workdir)
    return evaluation.evaluate(trained.folded() if folded else trained, recipe_).evaluation
