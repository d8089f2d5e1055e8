"""Implicit knowledge: a learned constant that corrects a representation (paper, section 3).

    y = f(x) * g(z)        with * one of addition, multiplication and concatenation

The latent z does not depend on the input. How g makes a representation of it is its modelling:

    Vector          g(z) = z
    Network         g(z) = W z, any depth, with or without a non-linearity in between
    Factorization   g(Z, c) = Z^T c, a mixture of base vectors (atoms)

Training starts at "no effect": whatever the modelling, the entries of g(z) are drawn from
N(0, 0.02), for multiplication from N(1, 0.02). Use it in any Linen module:

    class Head(nn.Module):
        @nn.compact
        def __call__(self, x):                                  # [B, H, W, 256]
            x = Implicit("multiply", Network(hidden=(64,)), name="implicit_before")(x)
            return nn.Conv(255, (1, 1), name="conv")(x)         # [B, H, W, 255]
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.errors import InputError

Param = Callable[[str, Callable[[jax.Array], jax.Array]], Any]
"""``(name, init) -> leaf``: ``nn.Module.param``, or a look-up in given leaves."""

OPERATORS = {
    "add": lambda x, g: x + g,
    "multiply": lambda x, g: x * g,
    "concat": lambda x, g: jnp.concatenate([g, x], axis=-1),
}
NEUTRAL = {"add": 0.0, "multiply": 1.0, "concat": 0.0}
NONLINEARITIES = {
    None: lambda h: h,
    "tanh": lambda h: h.__array_namespace__().tanh(h),
    "silu": lambda h: h * (1 + h.__array_namespace__().tanh(h / 2)) / 2,
}


def _normal(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> Float[Array, "..."]:
    return jax.random.normal(key, shape, dtype)


def _times(h: Float[Any, "*A D"], w: Float[Any, "*A D C"]) -> Float[Any, "*A C"]:
    """Vector times matrix, over any leading axes; NumPy or JAX arrays."""
    return (h[..., None, :] @ w)[..., 0, :]


def _weights(h: Float[Any, "*A D"], features: int, mean: float, std: float):
    """An initialiser of W such that the entries of h W are independent draws from N(mean, std)."""

    def init(key: jax.Array) -> Float[Array, "*A D C"]:
        norm = jnp.linalg.norm(h, axis=-1)[..., None, None]
        noise = _normal(key, (*h.shape, features), h.dtype)
        return (mean * h[..., None] / norm + std * noise) / norm

    return init


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"got {name} = {size}; expected at least 1")


@dataclasses.dataclass(frozen=True)
class Vector:
    """``g(z) = z``: independent dimensions, one base. Leaf ``z`` ``[C]``."""

    def __call__(self, param: Param, shape: tuple[int, ...], mean: float, std: float):
        """g(z) of the given shape; new leaves are drawn so that it is N(mean, std)."""
        return param("z", lambda key: mean + std * _normal(key, shape))


@dataclasses.dataclass(frozen=True)
class Network:
    """``g(z) = W z``: dependent dimensions (paper, "neural network").

    Leaves ``z`` ``[D]``, of length one at the start, and ``w0``, ``w1``, ... ``[D_in, D_out]``.

    Attributes:
        hidden: widths of hidden layers; none makes the network linear.
        nonlinearity: behind each hidden layer: None, "tanh" or "silu".
        prior: dimension D of z; twice the representation's if None.
    """

    hidden: tuple[int, ...] = ()
    nonlinearity: str | None = None
    prior: int | None = None

    def __post_init__(self):
        _require_positive(**{f"hidden[{i}]": width for i, width in enumerate(self.hidden)})
        _require_positive(prior=1 if self.prior is None else self.prior)
        if self.nonlinearity not in NONLINEARITIES:
            known = ", ".join(str(name) for name in NONLINEARITIES)
            raise InputError(
                f"got the non-linearity {self.nonlinearity!r}; expected one of {known}"
            )

    def __call__(self, param: Param, shape: tuple[int, ...], mean: float, std: float):
        """g(z) of the given shape; new leaves are drawn so that it is N(mean, std)."""
        *leading, features = shape
        size = (*leading, self.prior or 2 * features)

        def direction(key):
            z = _normal(key, size)
            return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

        h = param("z", direction)
        for i, width in enumerate(self.hidden):
            h = _times(h, param(f"w{i}", _weights(h, width, 0.0, 1.0)))
            h = NONLINEARITIES[self.nonlinearity](h)
        return _times(h, param(f"w{len(self.hidden)}", _weights(h, features, mean, std)))


@dataclasses.dataclass(frozen=True)
class Factorization:
    """``g(Z, c) = Z^T c``: a mixture of atoms (paper, "matrix factorization").

    Leaves ``atoms`` Z ``[D, C]`` and ``coefficients`` c ``[D]``, which start equal.

    Attributes:
        atoms: their number D; twice the representation's dimension if None.
        sparsity: weight of the penalty ``sum |c|`` in the loss (`models.implicits`); 0 for none.
        nonnegative: ``|Z|^T |c|`` (NMF). Its start is N(mean, std) cut to the constraint:
            the magnitudes of such draws.
    """

    atoms: int | None = None
    sparsity: float = 0.0
    nonnegative: bool = False

    def __post_init__(self):
        _require_positive(atoms=1 if self.atoms is None else self.atoms)
        if not self.sparsity >= 0:
            raise InputError(f"got sparsity = {self.sparsity}; expected at least 0")

    def __call__(self, param: Param, shape: tuple[int, ...], mean: float, std: float):
        """g(z) of the given shape; new leaves are drawn so that it is N(mean, std)."""
        *leading, features = shape
        count = self.atoms or 2 * features
        c = param("coefficients", lambda _: jnp.full((*leading, count), count**-0.5, jnp.float32))
        if not self.nonnegative:
            return _times(c, param("atoms", _weights(c, features, mean, std)))

        def positive(key):
            target, shares = jax.random.split(key)
            g = jnp.abs(mean + std * _normal(target, shape, c.dtype))[..., None, :]
            share = jax.random.exponential(shares, (*c.shape, features), c.dtype)
            return g * share / _times(c, share)[..., None, :]

        return _times(abs(c), abs(param("atoms", positive)))


VECTOR = Vector()
MODELLINGS = {"vector": Vector, "network": Network, "factorization": Factorization}
Modelling = Vector | Network | Factorization


def combine(
    operator: str, x: Float[Array, "*batch AC"], g: Float[Array, "*A Cz"]
) -> Float[Array, "*batch _"]:
    """``x * g`` for a constant g, broadcast over the batch.

    Args:
        operator: "add", "multiply" or "concat" (the constant comes first).
        x: channels last.
        g: ``[C]``, or ``[A, C]`` for A equal groups of channels with a constant each.

    Returns:
        In the dtype of x, with its shape but for "concat", which gives ``A (Cz + C)`` channels.
    """
    *batch, channels = x.shape
    groups = g.shape[:-1]
    x = x.reshape(*batch, *groups, channels // (groups[0] if groups else 1))
    # Cast behind the broadcast: the gradient is a sum over all of it, which bfloat16 cannot hold.
    g = jnp.broadcast_to(g, (*batch, *g.shape)).astype(x.dtype)
    y = OPERATORS[operator](x, g)
    return y.reshape(*batch, y.shape[-1] * (groups[0] if groups else 1))


def spread(
    g: Float[Any, "*A c"], width: int, channels: tuple[int, int] | None, neutral: float
) -> Float[Any, "*A C"]:
    """Pads a constant for some of the channels with the operator's neutral element."""
    if channels is None:
        return g
    start, stop = channels
    xp = g.__array_namespace__()
    before = xp.full((*g.shape[:-1], start), neutral, dtype=g.dtype)
    after = xp.full((*g.shape[:-1], width - stop), neutral, dtype=g.dtype)
    return xp.concatenate([before, g, after], axis=-1)


class Implicit(nn.Module):
    """Combines a representation with implicit knowledge, ``y = x * g(z)``.

    Call the module ``implicit_<place>``, so that the paths of its leaves say what they are.

    Attributes:
        operator: "add", "multiply" or "concat" (``[g(z); x]`` on channels).
        modelling: of g(z); float32 leaves.
        features: dimension of g(z); that of the channels it acts on if None. Only a concatenation
            may have another.
        groups: number A of equal groups of channels, each with a g(z) of its own: the leaves then
            have a leading axis A.
        channels: (start, stop) of the channels of each group that are acted on; all if None.
        std: standard deviation of the entries of g(z) at the start, around the operator's neutral
            element.
    """

    operator: str = "add"
    modelling: Modelling = VECTOR
    features: int | None = None
    groups: int = 1
    channels: tuple[int, int] | None = None
    std: float = 0.02

    @nn.compact
    def __call__(self, x: Float[Array, "*batch C"]) -> Float[Array, "*batch _"]:
        """Returns ``x * g(z)``, broadcast over all axes but the last, in the dtype of x.

        Raises:
            InputError: an operator that does not exist, or channels that g(z) does not fit.
        """
        if self.operator not in OPERATORS:
            known = ", ".join(OPERATORS)
            raise InputError(f"got the operator {self.operator!r}; expected one of {known}")
        if not isinstance(self.modelling, Modelling):
            raise InputError(
                f"got the modelling {self.modelling!r}; expected Vector(), Network(...) or "
                "Factorization(...)"
            )
        if self.operator == "concat" and self.channels is not None:
            raise InputError("a concatenation acts on all channels; leave `channels` out")
        _require_positive(groups=self.groups)
        width = x.shape[-1] // self.groups
        start, stop = self.channels or (0, width)
        features = stop - start if self.features is None else self.features
        _require_positive(features=features)
        fits = self.operator == "concat" or features == stop - start
        if width * self.groups != x.shape[-1] or not 0 <= start < stop <= width or not fits:
            raise InputError(
                f"g(z) with {features} features does not fit channels {start}..{stop} of "
                f"{x.shape[-1]} in {self.groups} groups; leave `features` out to take theirs"
            )
        shape = (features,) if self.groups == 1 else (self.groups, features)
        neutral = NEUTRAL[self.operator]
        g = jnp.asarray(self.modelling(self.param, shape, neutral, self.std))
        return combine(self.operator, x, spread(g, width, self.channels, neutral))
