"""What a network has learnt as implicit knowledge, as a picture (paper, figure 9).

    draw_implicits("implicit.png", spec, variables["params"])

Each refinement is a row of bars over anchors and outputs; each other g(z) is a row of sorted
entries. Lines mark the operator's neutral element: a bar on it changes nothing.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.models.implicits import representations
from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.implicit import NEUTRAL
from yolor_jax.nn.knowledge import SIZE
from yolor_jax.whole_file import whole_file

OUTPUTS = ("x", "y", "w", "h", "obj")
MOST_NAMES = 30  # outputs whose names can be read under the bars


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
        ImportError: matplotlib is missing; names the extra to install.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install -e .[report]") from error
    g = {name: np.asarray(value) for name, value in representations(spec, params).items()}
    if not g:
        raise InputError(f"{spec.name} has no implicit knowledge to draw")
    figure = Figure(figsize=(12, 1.9 * len(g)), layout="constrained")
    rows = figure.subplots(len(g), squeeze=False)[:, 0]
    for axes, (name, value) in zip(rows, g.items(), strict=True):
        knowledge = spec.knowledge_at(name)
        neutral = NEUTRAL[knowledge.operator]
        if knowledge.scope == "size":
            _draw_outputs(axes, value[:, slice(*SIZE)], neutral, OUTPUTS[slice(*SIZE)])
        elif name.endswith("implicit_after"):
            _draw_outputs(axes, value, neutral, [*OUTPUTS, *class_names])
        else:
            _draw_sorted(axes, value, neutral)
        axes.axhline(neutral, color="black", linewidth=0.8)
        kind = type(knowledge.modelling).__name__.lower()
        axes.set_title(f"{name}: {knowledge.operator}, {kind}", loc="left", fontsize=9)
        axes.margins(x=0.01)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _draw_outputs(axes: Any, value: np.ndarray, neutral: float, names: Sequence[str]) -> None:
    """Bars over the named outputs of each anchor, ``value`` [A, outputs]."""
    positions = np.arange(value.size).reshape(value.shape) + np.arange(len(value))[:, None]
    for anchor, (at, row) in enumerate(zip(positions, value, strict=True)):
        axes.bar(at, row - neutral, bottom=neutral, width=0.9, label=f"anchor {anchor}")
    if len(names) > MOST_NAMES:
        middles = (len(OUTPUTS) // 2, (len(OUTPUTS) + len(names)) // 2)
        positions, names = positions[:, middles], ["x y w h obj", "classes"]
    turn = 90 if len(names) > 2 else 0
    axes.set_xticks(positions.ravel(), [*names] * len(value), rotation=turn, fontsize=7)
    axes.legend(fontsize=7, ncols=len(value), loc="lower right", bbox_to_anchor=(1, 1))


def _draw_sorted(axes: Any, value: np.ndarray, neutral: float) -> None:
    """The entries in rising order, ``value`` [C], or [A, C] as one curve for each anchor."""
    for row in np.atleast_2d(value):
        axes.fill_between(np.arange(row.size), neutral, np.sort(row), alpha=0.6)
    axes.set_xlabel("channels, sorted", fontsize=7)
