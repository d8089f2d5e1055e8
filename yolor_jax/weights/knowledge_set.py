"""One z of a network in a small file of its own: what a domain adds to weights that many share.

    write_set("runs/first/knowledge/night.safetensors", knowledge_of(variables, meta))
    night = read_set("runs/first/knowledge/night.safetensors")
    variables = with_set(variables, night, spec)

A tensor is named by its path in ``params``, such as ``head/level0/implicit_before/z``. The metadata
say of which model it is, where its implicit knowledge stands, and which weights and statistics of
batch norm it was learnt on: on any others it would mean something else, and it is refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import numpy as np
import safetensors.numpy

from yolor_jax.errors import InputError
from yolor_jax.models import implicits
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.models.spec import ModelSpec
from yolor_jax.stamp import stamp
from yolor_jax.trees import differences, flatten_by_path
from yolor_jax.weights.foreign import WeightsError
from yolor_jax.weights.store import opened
from yolor_jax.whole_file import whole_file

KEY = "yolor_jax_knowledge"
"""Where the metadata of the file say what the set is of."""


class KnowledgeSet(NamedTuple):
    """All implicit knowledge of one network.

    Attributes:
        leaves: by path in ``params``.
        implicit: where it stands, as `models.spec.with_implicit` takes it; None: the model's own.
        weights: digest of all other parameters that it was learnt on.
        statistics: digest of batch norm's; None of a file that is older than this entry.
    """

    leaves: Mapping[str, np.ndarray]
    implicit: Any
    weights: str
    statistics: str | None


def knowledge_of(variables: Mapping[str, Any], meta: Mapping[str, Any]) -> KnowledgeSet:
    """The implicit knowledge of a network.

    Args:
        variables: not folded, NumPy.
        meta: what is known of it (`runs.trained.Trained.meta`).

    Raises:
        InputError: there is none in it.
    """
    implicit, rest = _apart(variables["params"])
    if not implicit:
        raise implicits.no_knowledge()
    statistics = _digest(flatten_by_path(variables["batch_stats"]))
    return KnowledgeSet(implicit, meta["implicit"], _digest(rest), statistics)


def with_set(variables: Mapping[str, Any], knowledge: KnowledgeSet, spec: ModelSpec) -> dict:
    """Variables with another z.

    Args:
        variables: not folded, NumPy.
        knowledge: that takes the place of theirs.
        spec: of the network with this knowledge.

    Raises:
        InputError: leaves are missing, unused or of another shape, or the set was learnt on other
            weights or statistics.
    """
    _, rest = _apart(variables["params"])
    head = rest["head/level0/conv/kernel"]
    module = build(spec, head.shape[-1] // len(spec.anchors[0]) - 5)
    expected, _ = _apart(variable_shapes(module)["params"])
    if wrong := differences(knowledge.leaves, expected):
        raise InputError(f"this z is of another network: {wrong[0]} ({len(wrong)} differences)")
    if knowledge.weights != _digest(rest):
        raise InputError(
            "this z was learnt on other weights than these; attach it to those it was learnt on, "
            "or learn it on these with the recipe implicit_tuning"
        )
    statistics = _digest(flatten_by_path(variables["batch_stats"]))
    if knowledge.statistics not in (None, statistics):
        raise InputError(
            "this z was learnt with other statistics of batch norm than these; attach it to "
            "weights with the same (`yolor recalibrate` and eval.recalibrate take new ones), or "
            "learn it on these with the recipe implicit_tuning"
        )
    params = flax.traverse_util.unflatten_dict({**rest, **knowledge.leaves}, sep="/")
    return {**variables, "params": params}


def write_set(path: str | os.PathLike, knowledge: KnowledgeSet) -> None:
    """Writes a set to a file that appears whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    said = {"implicit": knowledge.implicit, "weights": knowledge.weights,
            "statistics": knowledge.statistics, "stamp": stamp()}  # fmt: skip
    # In C order: safetensors writes a transposed view as if it were not one.
    leaves = {name: np.asarray(leaf, order="C") for name, leaf in knowledge.leaves.items()}
    with whole_file(path) as temporary:
        safetensors.numpy.save_file(leaves, temporary, metadata={KEY: json.dumps(said)})


def read_set(path: str | os.PathLike) -> KnowledgeSet:
    """Reads a file of `write_set`.

    Raises:
        WeightsError: it is damaged or of another kind.
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            raise WeightsError(
                f"is no set of implicit knowledge: its metadata have no entry {KEY!r}; "
                "`yolor implicit RUN --add NAME=TUNED` makes one"
            )
        said = json.loads(metadata[KEY])
        leaves = {name: file.get_tensor(name) for name in file.keys()}
    return KnowledgeSet(leaves, said["implicit"], said["weights"], said.get("statistics"))


def _apart(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The implicit leaves of parameters by path, and all others."""
    leaves = flatten_by_path(params)
    inside = tuple(f"{module}/" for module in implicits.find(params))
    implicit = {path: leaf for path, leaf in leaves.items() if path.startswith(inside)}
    return implicit, {path: leaf for path, leaf in leaves.items() if path not in implicit}


def _digest(leaves: Mapping[str, np.ndarray]) -> str:
    """Of names, shapes, dtypes and values, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(leaves):
        leaf = np.ascontiguousarray(leaves[path])
        digest.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()
