"""Initialise a network from another: another number of classes, other implicit knowledge.

    found = transfer(checkpoint.spec, checkpoint.variables, module)
    print(format_report(found))
    variables = trees.replace(variables, found.loaded)

A leaf is taken if its path and shape are equal. Implicit knowledge is taken as a whole, where
operator and modelling are equal too: the z of an addition would silence what a multiplication acts
on. All other leaves keep their start values, each with a reason.
"""

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector, variable_shapes
from yolor_jax.models.spec import ModelSpec
from yolor_jax.nn.implicit import MODELLINGS
from yolor_jax.nn.knowledge import Knowledge
from yolor_jax.table import text_table
from yolor_jax.trees import flatten_by_path

ABSENT = "not in the checkpoint"
UNUSED = "unused"
PART = "the rest of this implicit knowledge starts anew"
SEEN_ELSEWHERE = ("prior", "atoms", "sparsity")  # in the shapes; in the loss only


class Transfer(NamedTuple):
    """What one network gives another.

    Attributes:
        loaded: arrays by path, such as ``params/head/level0/conv/kernel``, in the dtypes of the
            network that takes them.
        left: for every other path of either network, why its values were not taken.
    """

    loaded: dict[str, np.ndarray]
    left: dict[str, str]


def transfer(source_spec: ModelSpec, source: Mapping[str, Any], target: Detector) -> Transfer:
    """The leaves of one network that another can start from.

    Args:
        source_spec: the model that is taken from.
        source: its variables, not folded.
        target: the network that is to start.

    Raises:
        InputError: the source is folded, or has nothing that fits.
    """
    if "batch_stats" not in source:
        raise InputError(
            "the weights to start from are folded: their batch norms and implicit knowledge are no "
            "longer there to be trained; give the checkpoint that they were folded from"
        )
    leaves, wanted = flatten_by_path(source), flatten_by_path(variable_shapes(target))
    left = {}
    for path, shape in wanted.items():
        if path not in leaves:
            left[path] = ABSENT
        elif leaves[path].shape != shape.shape:
            left[path] = f"other shape {list(leaves[path].shape)} -> {list(shape.shape)}"
        elif reason := _other_knowledge(path, source_spec, target.spec):
            left[path] = reason
    # Leaves of one g(z) have start values that are made for each other.
    broken = {_implicit_module(path) for path in left} - {None}
    left |= {path: PART for path in wanted if path not in left and _implicit_module(path) in broken}
    loaded = {
        path: np.asarray(leaves[path], shape.dtype)
        for path, shape in wanted.items()
        if path not in left
    }
    if not loaded:
        raise InputError(
            f"nothing of the weights of {source_spec.name} fits {target.spec.name}: no leaf has "
            "the path and shape of another; give a checkpoint of the same or a related model"
        )
    return Transfer(loaded, left | {path: UNUSED for path in leaves if path not in wanted})


def format_report(found: Transfer) -> str:
    """A table of what was loaded, by part of the network, and of every leaf that was not."""
    missing = [path for path, reason in found.left.items() if reason != UNUSED]
    loaded = collections.Counter(map(_part, found.loaded))
    total = loaded + collections.Counter(map(_part, missing))
    parts = [(part, f"{loaded[part]} of {total[part]} loaded") for part in sorted(total)]
    return text_table([*parts, *found.left.items()], left=(0, 1))


def _part(path: str) -> str:
    """``backbone`` of ``params/backbone/stem/conv/kernel``."""
    return path.split("/")[1]


def _implicit_module(path: str) -> str | None:
    """The path of the implicit module that a leaf belongs to, if it does."""
    module = path.rpartition("/")[0]
    return module if module.rpartition("/")[2].startswith("implicit_") else None


def _other_knowledge(path: str, source: ModelSpec, target: ModelSpec) -> str | None:
    """The reason why a leaf of an implicit module means something else, if it does."""
    module = _implicit_module(path)
    if module is None:
        return None
    module = module.removeprefix("params/")
    there, here = (_meaning(spec.knowledge_at(module)) for spec in (source, target))
    return None if there == here else f"other knowledge {there} -> {here}"


def _meaning(knowledge: Knowledge) -> str:
    """What else than their shapes decides what the leaves of an implicit module mean, in words."""
    modelling = knowledge.modelling
    fields = {name: value for name, value in vars(modelling).items() if name not in SEEN_ELSEWHERE}
    kind = next(name for name, kind in MODELLINGS.items() if isinstance(modelling, kind))
    words = [knowledge.operator, knowledge.scope, kind]
    return ", ".join([*words, *(f"{name}={value}" for name, value in fields.items() if value)])
