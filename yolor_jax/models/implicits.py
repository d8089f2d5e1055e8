"""The implicit knowledge of a network: find it, read it, replace it, keep it sparse.

    found = find(params)                       # {"head/level0/implicit_before": {"z": ...}, ...}
    g = representations(spec, params)          # {"head/level0/implicit_before": g(z), ...}
    distances(spec, params)                    # {"head/level0/implicit_before": 0.13, ...}
    params = trees.replace(params, {"head/level0/implicit_before/z": z})
    effective_ranks(spec, params)              # {"head/level0/implicit_after": 1.9, ...}
    spec, params = without_effect(spec, params)
    spec, params = between(spec, day, night, 0.5)

To freeze it, or all but it, is a matter of paths: ``--config.optim.freeze=implicit`` in a recipe,
`trees.label_by_path` with `optax.multi_transform` elsewhere.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64

from yolor_jax.errors import InputError
from yolor_jax.models.spec import Implicits, ModelSpec
from yolor_jax.nn.implicit import NEUTRAL, VECTOR, Factorization
from yolor_jax.nn.knowledge import SIZE
from yolor_jax.trees import differences, flatten_by_path


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
    return {
        path: float(np.sqrt(np.mean(away**2)))
        for path, away in _away_from_neutral(spec, params).items()
    }


def _away_from_neutral(
    spec: ModelSpec, params: Mapping[str, Any]
) -> dict[str, Float64[np.ndarray, "..."]]:
    """By path g(z) less the neutral element, without what does not act."""
    away = {}
    for path, g in representations(spec, params).items():
        knowledge = spec.knowledge_at(path)
        acting = g[:, slice(*SIZE)] if knowledge.scope == "size" else g
        away[path] = np.asarray(acting, np.float64) - NEUTRAL[knowledge.operator]
    return away


def effective_rank(matrix: Float[Any, "N C"]) -> float:
    """The exponential of the entropy of the singular values: how many directions rows lie in.

    Args:
        matrix: NumPy or JAX, on the host or one device.

    Returns:
        From 1, where all rows are multiples of one, to min(N, C), where all singular values are
        equal; 0 of a matrix of zeros.

    References:
        Roy and Vetterli, The effective rank: a measure of effective dimensionality, 2007.
    """
    values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else 0.0


def effective_ranks(spec: ModelSpec, params: Mapping[str, Any]) -> dict[str, float]:
    """Effective rank of g(z) less the neutral element, where each anchor has a row of its own.

    Near 1 all anchors were taught the same; near their number A each was taught something else.

    Args:
        spec: the model.
        params: not folded; NumPy or JAX, on the host or one device.

    Returns:
        By path; without those in front of a convolution that have one g(z) for all anchors.
    """
    moved = _away_from_neutral(spec, params)
    return {path: effective_rank(away) for path, away in moved.items() if away.ndim == 2}


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
    neutral = {
        path: np.full_like(g, NEUTRAL[spec.knowledge_at(path).operator])
        for path, g in _as_vectors(spec, params).items()
    }
    return _with_vectors(spec, params, neutral)


def between(
    spec: ModelSpec, params: Mapping[str, Any], other: Mapping[str, Any], t: float
) -> tuple[ModelSpec, dict[str, Any]]:
    """The network on the line from one z to another: ``(1 - t) g(z) + t g(z')`` in every place.

    It is the representations that are mixed, whatever models them: two networks W z and W' z' meet
    in the vector that lies between theirs.

    Args:
        spec: the model of both.
        params: not folded; all but the implicit knowledge comes from here.
        other: those of the other z, of which nothing else is looked at; of the same operators,
            which its leaves cannot tell.
        t: 0 for the one, 1 for the other; beyond both is allowed.

    Returns:
        A spec in which every g(z) is a vector, and the params that belong to it, in NumPy.

    Raises:
        InputError: there is no implicit knowledge in one, or it has other places, shapes or
            modelling.
    """
    here, there = _as_vectors(spec, params), _as_vectors(spec, other)
    if wrong := differences(there, here):
        raise InputError(f"two z of one model are needed to go from one to the other: {wrong[0]}")
    mixed = {path: np.float32(1 - t) * g + np.float32(t) * there[path] for path, g in here.items()}
    return _with_vectors(spec, params, mixed)


def no_knowledge() -> InputError:
    """The error that a network has no z."""
    return InputError(
        "there is no implicit knowledge in this network: it is folded, or its model has none"
    )


def _as_vectors(spec: ModelSpec, params: Mapping[str, Any]) -> dict[str, Float32[Any, "..."]]:
    """By path each g(z) as the leaf that a `Vector` would have in its place."""
    found = find(params)
    if not found:
        raise no_knowledge()
    if strange := [path for path in found if spec.knowledge_at(path) is None]:
        raise InputError(
            f"z stands at {strange[0]}, where the model {spec.name} has none; expected that of the "
            "same places (model.implicit)"
        )
    return {path: _as_vector(spec, path, leaves) for path, leaves in found.items()}


def _as_vector(spec: ModelSpec, path: str, leaves: Mapping[str, Any]) -> Float32[Any, "..."]:
    try:
        return np.asarray(spec.knowledge_at(path).modelling.g(leaves), np.float32)
    except KeyError as error:
        raise InputError(
            f"z at {path} has no {error}, but {', '.join(leaves)}: it is modelled otherwise than "
            f"in the model {spec.name}; expected that of one modelling (model.implicit)"
        ) from error


def _with_vectors(
    spec: ModelSpec, params: Mapping[str, Any], vectors: Mapping[str, Any]
) -> tuple[ModelSpec, dict[str, Any]]:
    """The spec in which every g(z) is a vector, and params in which it is the given one."""
    places = {
        field.name: getattr(spec.implicit, field.name) for field in dataclasses.fields(Implicits)
    }
    as_vectors = {
        place: knowledge and dataclasses.replace(knowledge, modelling=VECTOR)
        for place, knowledge in places.items()
    }
    inside = tuple(f"{path}/" for path in vectors)
    leaves = {
        path: leaf for path, leaf in flatten_by_path(params).items() if not path.startswith(inside)
    }
    leaves |= {f"{path}/z": g for path, g in vectors.items()}
    changed = dataclasses.replace(spec, implicit=Implicits(**as_vectors))
    return changed, flax.traverse_util.unflatten_dict(leaves, sep="/")


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
