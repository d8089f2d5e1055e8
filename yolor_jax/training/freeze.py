"""Freezing: the parameters whose path matches a regular expression stay as they are.

    OptimConfig(freeze="^backbone/")      # train the neck and the head
    OptimConfig(freeze="^(?!.*implicit)") # train implicit knowledge only

Paths are those of the parameter tree, such as ``backbone/stem/bn/scale``. Frozen parameters get no
gradient, no weight decay and no state of the optimiser, and their moving average does not move.

A frozen part is a constant function: a batch norm whose scale and bias are both frozen normalises
with its running statistics, as in inference, and leaves them as they are. One of which only a part
is frozen, or nothing, goes on with the statistics of the batch.
"""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax
from jaxtyping import PyTree

from yolor_jax import trees
from yolor_jax.errors import InputError
from yolor_jax.nn.batch_norm import BatchNorm


def frozen(params: PyTree, regex: str) -> PyTree:
    """Whether each parameter is frozen.

    Args:
        params: arrays or shapes.
        regex: searched for in each path with ``re.search``; "" freezes nothing.

    Returns:
        A tree like ``params`` with a bool at each leaf.

    Raises:
        InputError: the expression matches no parameter, or all of them.
    """
    if not regex:
        return jax.tree.map(lambda _: False, params)
    flags = {path: bool(re.search(regex, path)) for path in trees.flatten_by_path(params)}
    if len(set(flags.values())) == 1:
        matched = "every parameter" if all(flags.values()) else "no parameter"
        some = ", ".join(list(flags)[:: max(len(flags) // 4, 1)][:4])
        raise InputError(
            f"freeze is {regex!r}, which matches {matched}; expected a regular expression for "
            f"some of their paths, such as {some}"
        )
    return jax.tree.unflatten(jax.tree.structure(params), flags.values())


def count(params: PyTree, regex: str) -> int:
    """The number of frozen parameters (scalars) of a tree of arrays or shapes."""
    flags = frozen(params, regex)
    sizes = jax.tree.map(lambda leaf, flag: leaf.size if flag else 0, params, flags)
    return sum(jax.tree.leaves(sizes))


def stop_gradients(params: PyTree, regex: str) -> PyTree:
    """The parameters, with gradient zero where frozen; what only those need is not computed."""
    return jax.tree.map(
        lambda leaf, flag: jax.lax.stop_gradient(leaf) if flag else leaf,
        params,
        frozen(params, regex),
    )


def skip_frozen(
    optimizer: optax.GradientTransformationExtraArgs, regex: str
) -> optax.GradientTransformationExtraArgs:
    """An optimiser that sees only what is not frozen; the update of the rest is zero."""

    def trained(params: PyTree) -> PyTree:
        return jax.tree.map(lambda flag: not flag, frozen(params, regex))

    return optax.with_extra_args_support(
        optax.chain(
            optax.masked(optimizer, trained),
            optax.masked(optax.set_to_zero(), lambda params: frozen(params, regex)),
        )
    )


def constant_batch_norms(params: PyTree, regex: str) -> Callable[..., Any]:
    """An interceptor for ``nn.intercept_methods``: frozen batch norms run as in inference.

    Args:
        params: of the module that is applied inside.
        regex: as for `frozen`.
    """
    flags = trees.flatten_by_path(frozen(params, regex))

    def interceptor(call, args, kwargs, context: nn.module.InterceptorContext):
        if isinstance(context.module, BatchNorm):
            path = "/".join(context.module.path)
            if flags[f"{path}/scale"] and flags[f"{path}/bias"]:
                kwargs = kwargs | {"train": False}
        return call(*args, **kwargs)

    return interceptor
