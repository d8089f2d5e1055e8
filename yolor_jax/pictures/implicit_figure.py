"""What a network has learnt as implicit knowledge, as a picture (paper, figure 9).

    draw_implicits("implicit.png", spec, variables["params"], class_names)

Each refinement is a row of bars over outputs and anchors; each other g(z) is a row of sorted
entries. A line marks the operator's neutral element: a bar on it changes nothing.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from yolor_jax.errors import InputError
from yolor_jax.models.implicits import representations
from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.implicit import NEUTRAL
from yolor_jax.nn.knowledge import SIZE
from yolor_jax.pictures.chart import DOTS, INK, SHARP, chart
from yolor_jax.whole_file import whole_file

OUTPUTS = ("x", "y", "w", "h", "obj")
MOST_NAMES = 30  # outputs whose names can be read under the bars
LETTER = 9  # pixels of a letter of a name, with its share of the space between names
WIDTH, HEIGHT = 960, 160  # pixels of a row


def draw_implicits(
    path: str | os.PathLike, spec: ModelSpec, params: Mapping[str, Any], class_names: Sequence[str]
) -> None:
    """Draws every g(z) of a network, one row each.

    Args:
        path: of the picture; its ending decides the format.
        spec: the model.
        params: not folded.
        class_names: of the K classes; written under the bars where there are few.

    Raises:
        InputError: the network has no implicit knowledge.
        OSError: the picture cannot be written.
    """
    g = {name: np.asarray(value) for name, value in representations(spec, params).items()}
    if not g:
        raise InputError(f"{spec.name} has no implicit knowledge to draw")
    with chart(WIDTH, HEIGHT * len(g)) as figure:
        rows = figure.subplots(len(g), squeeze=False)[:, 0]
        for axes, (name, value) in zip(rows, g.items(), strict=True):
            draw_representation(axes, spec, name, value, class_names)
            axes.set_title(f"{name}: {operation(spec, name)}")
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=SHARP)


def operation(spec: ModelSpec, path: str) -> str:
    """How an implicit module acts and what it is made of, such as ``add, vector``."""
    knowledge = spec.knowledge_at(path)
    return f"{knowledge.operator}, {type(knowledge.modelling).__name__.lower()}"


def draw_representation(
    axes: Axes,
    spec: ModelSpec,
    path: str,
    value: Float[np.ndarray, "..."],
    class_names: Sequence[str],
) -> None:
    """Draws one g(z).

    Args:
        axes: where to.
        spec: the model.
        path: of the implicit module.
        value: of `models.implicits.representations`: ``[A, 5 + K]`` behind a prediction, elsewhere
            ``[C]`` or ``[A, C]``.
        class_names: of the K classes.
    """
    knowledge = spec.knowledge_at(path)
    neutral = NEUTRAL[knowledge.operator]
    if knowledge.scope == "size":
        _draw_outputs(axes, value[:, slice(*SIZE)], neutral, OUTPUTS[slice(*SIZE)])
    elif path.endswith("implicit_after"):
        _draw_outputs(axes, value, neutral, [*OUTPUTS, *class_names])
    else:
        _draw_sorted(axes, value, neutral)
    axes.axhline(neutral, color=INK, linewidth=0.8)
    axes.margins(x=0.01)


def _draw_outputs(axes: Axes, value: np.ndarray, neutral: float, names: Sequence[str]) -> None:
    """For each named output a bar of each anchor, ``value`` [A, outputs]."""
    anchors, outputs = value.shape
    width = 0.8 / anchors
    for anchor, row in enumerate(value):
        middles = np.arange(outputs) + (anchor - (anchors - 1) / 2) * width
        axes.bar(middles, row - neutral, bottom=neutral, width=width, label=f"anchor {anchor}")
    if len(names) <= MOST_NAMES:
        crowded = LETTER * sum(map(len, names)) > DOTS * axes.figure.get_figwidth()
        axes.set_xticks(range(outputs), names, rotation=90 if crowded else 0)
    else:
        boxes, classes = (len(OUTPUTS) - 1) / 2, (len(OUTPUTS) + outputs - 1) / 2
        axes.set_xticks([boxes, classes], ["boxes", f"{outputs - len(OUTPUTS)} classes"])
        axes.axvline(len(OUTPUTS) - 0.5, color=INK, linewidth=0.8, linestyle=":")
    axes.legend(ncols=anchors, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def _draw_sorted(axes: Axes, value: np.ndarray, neutral: float) -> None:
    """The entries in rising order, ``value`` [C], or [A, C] as one curve for each anchor."""
    for row in np.atleast_2d(value):
        axes.fill_between(np.arange(row.size), neutral, np.sort(row), alpha=0.6, linewidth=0)
    axes.set_xlabel("channels, sorted")
