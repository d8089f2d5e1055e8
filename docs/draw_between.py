"""Draws AP on the way from a network's own z to one that it learnt on other data.

python docs/draw_between.py runs/quickstart night shapes shapes_night
"""

import pathlib
import sys

import numpy as np

import yolor_jax
from yolor_jax.models.implicits import between
from yolor_jax.paths import user_path
from yolor_jax.pictures.chart import SHARP, chart, draw_lines
from yolor_jax.runs import evaluation
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.sources import open_split
from yolor_jax.training.mesh import make_mesh

PICTURE = pathlib.Path(__file__).with_name("between.svg")
WAY = np.linspace(0, 1, 5)


def scores(run: str, knowledge: str, data: str) -> list[float]:
    """AP in percent on the run's evaluation split of a data set, for each step of the way.

    Both z must be vectors in the same places, so that one compiled network takes all of them.
    """
    day, night = yolor_jax.load(run), yolor_jax.load(run, knowledge=knowledge)
    recipe = recipes.load(user_path(run))
    recipe = evaluation.on(recipe, data=data, split=recipe.data.eval_split)
    source = open_split(recipe.data, recipe.data.eval_split)
    evaluate = evaluation.make_evaluator(recipe, day.module, source, make_mesh())
    found = []
    for t in WAY.tolist():
        _, params = between(day.spec, day.variables["params"], night.variables["params"], t)
        found.append(100 * evaluate({**day.variables, "params": params}).metrics["AP"])
    return found


def main(run: str, knowledge: str, *data: str) -> None:
    """Prints and draws a line for each data set."""
    lines = {name: (WAY, scores(run, knowledge, name)) for name in data}
    for name, (_, found) in lines.items():
        print(name, " ".join(f"{value:.1f}" for value in found))
    with chart(560, 300) as figure:
        axes = figure.subplots()
        draw_lines(axes, lines)
        axes.set_xlabel(f"t: from the network's own z (0) to {knowledge} (1)")
        axes.set_ylabel("AP, %")
        axes.set_ylim(bottom=0)
        figure.savefig(PICTURE, dpi=SHARP, bbox_inches="tight")


if __name__ == "__main__":
    main(*sys.argv[1:])
