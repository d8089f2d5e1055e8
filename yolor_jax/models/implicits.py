"""The implicit knowledge of a network: find it, read it, replace it, keep it sparse.

    found = find(params)                       # {"head/level0/implicit_before": {"z": ...}, ...}
    g = representations(spec, params)          # {"head/level0/implicit_before": g(z), ...}
    distances(spec, params)                    # {"head/level0/implicit_before": 0.13, ...}
    params = trees.replace(params, {"head/level0/implicit_before/z": z})
    spec, params = without_effect(spec, params)

To freeze it, or all but it, is a matter of paths: ``--config.optim.freeze=implicit`` in a recipe,
`trees.label_by_path` with `optax.multi_transform` elsewhere.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from yolor_jax.errors import InputError
from yolor_jax.models.spec import Implicits, ModelSpec
from yolor_jax.nn.implicit import NEUTRAL, VECTOR, Factorization
from yolor_jax.nn.knowledge import SIZE
from yolor_jax.trees import flatten_by_path


def find(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All implicit modules of a parameter tree.

    Args:
        params: of any network whose implicit modules are named ``implicit_<place>``.

    Returns:
        ``{path: leaves}``, in the order of the tree; empty if there are none.
    """
    found = {}
    for name, child in params.items():
        if name.startswith("implicit_"):
            found[name] = dict(child)
        elif isinstance(child, Mapping):
            found |= {f"{name}/{path}": leaves for path, leaves in find(child).items()}
    return found


def representations(spec: ModelSpec, params: Mapping[str, Any]) -> dict[str, Float[Any, "..."]]:
    """g(z) of every implicit module.

    Args:
        spec: the model.
        params: not folded; NumPy or JAX.

    Returns:
        By path: in front of a convolution ``[C]``, or ``[A, C]`` with one for each anchor; behind
        a prediction ``[A, 5 + K]``, in the order x y w h objectness classes.

    Raises:
        InputError: the tree has implicit knowledge where the model has none.
    """
    anchors = len(spec.anchors[0])
    g = {}
    for path, leaves in find(params).items():
        knowledge = spec.knowledge_at(path)
        if knowledge is None:
            raise InputError(
                f"{spec.name} has no implicit knowledge at {path}; expected the params, not all "
                "variables, of a network of this very spec"
            )
        if path.endswith("implicit_after"):
            outputs = _parent(params, path)["conv"]["bias"].shape[0]
            groups = 1 if knowledge.scope == "all" else anchors
            constant = knowledge.constant(leaves, outputs // groups)
            g[path] = constant.reshape(anchors, outputs // anchors)
        else:
            g[path] = knowledge.constant(leaves, 0)
    return g


def distances(spec: ModelSpec, params: Mapping[str, Any]) -> dict[str, float]:
    """How far each g(z) has moved from its operator's neutral element, where it changes nothing.

    Args:
        spec: the model.
        params: not folded; NumPy or JAX, on the host or one device.

    Returns:
        By path the root of the mean squared distance of the entries; before training that is about
        the ``std`` of the knowledge.
    """
    found = {}
    for path, g in representations(spec, params).items():
        knowledge = spec.knowledge_at(path)
        acting = g[:, slice(*SIZE)] if knowledge.scope == "size" else g
        away = np.asarray(acting, np.float64) - NEUTRAL[knowledge.operator]
        found[path] = float(np.sqrt(np.mean(away**2)))
    return found


def without_effect(spec: ModelSpec, params: Mapping[str, Any]) -> tuple[ModelSpec, dict[str, Any]]:
    """The same network with the neutral element of its operator in the place of every g(z).

    That is 0 where g(z) is added or concatenated and 1 where it multiplies, so that each
    representation passes as it is, and a convolution sees zeros where it saw a concatenated one.
    Nothing else changes: it is no network that was trained without implicit knowledge.

    Args:
        spec: the model.
        params: not folded.

    Returns:
        A spec in which every g(z) is a vector, and the params that belong to it, in NumPy.

    Raises:
        InputError: there is no implicit knowledge in it.
    """
    found = find(params)
    if not found:
        raise InputError(
            "there is no implicit knowledge in this network: it is folded, or its model has none"
        )
    places = {
        field.name: getattr(spec.implicit, field.name) for field in dataclasses.fields(Implicits)
    }
    vectors = {
        place: knowledge and dataclasses.replace(knowledge, modelling=VECTOR)
        for place, knowledge in places.items()
    }
    leaves = flatten_by_path(params)
    for path, module in found.items():
        for name in module:
            del leaves[f"{path}/{name}"]
        knowledge = spec.knowledge_at(path)
        g = np.asarray(knowledge.modelling.g(module), np.float32)
        leaves[f"{path}/z"] = np.full_like(g, NEUTRAL[knowledge.operator])
    neutral = dataclasses.replace(spec, implicit=Implicits(**vectors))
    return neutral, flax.traverse_util.unflatten_dict(leaves, sep="/")


def wants_sparsity(spec: ModelSpec) -> bool:
    """Whether any factorisation of a model asks for sparse coefficients."""
    places = [getattr(spec.implicit, field.name) for field in dataclasses.fields(spec.implicit)]
    return any(getattr(k.modelling, "sparsity", 0.0) > 0 for k in places if k)


def sparsity_penalty(spec: ModelSpec, params: Mapping[str, Any]) -> Float[Array, ""]:
    """The sum of ``sparsity * sum |c|`` over all factorisations.

    Args:
        spec: the model; its factorisations say how much sparsity they ask for.
        params: not folded.

    Returns:
        float32, to be added to the loss; 0 where nothing asks for it.
    """
    penalty = jnp.zeros((), jnp.float32)
    for path, leaves in find(params).items():
        modelling = spec.knowledge_at(path).modelling
        if isinstance(modelling, Factorization) and modelling.sparsity:
            magnitudes = jnp.abs(jnp.asarray(leaves["coefficients"], jnp.float32))
            penalty += modelling.sparsity * magnitudes.sum()
    return penalty


def _parent(params: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for name in path.split("/")[:-1]:
        params = params[name]
    return params
