"""Implicit knowledge: a learned constant that corrects a representation (arXiv 2105.04206).

    y = f(x) * g(z)             (1)    with * an addition, a multiplication or a concatenation

The latent z does not depend on the input x. How g makes a representation of it is its modelling:

    Vector          g = z       (2)    independent dimensions, one base
    Network         g = W z     (3)    dependent dimensions; any depth, non-linear or not
    Factorization   g = Z^T c   (4)    a mixture of base vectors (atoms)

(The numbers are those of the comments below, not of the paper.) A modelling is two functions:

    leaves = modelling.initialise(key, shape, mean, std)    # what is learned, by name
    modelling.g(leaves)                                     # [C], or [A, C] for A anchors

Training starts at "no effect": whatever the modelling, the entries of g(z) are drawn from
N(0, 0.02), for multiplication from N(1, 0.02). Use it in any Linen module:

    class Head(nn.Module):
        @nn.compact
        def __call__(self, x):                                  # [B, H, W, 256]
            x = Implicit("multiply", Network(hidden=(64,)), name="implicit_before")(x)
            return nn.Conv(255, (1, 1), name="conv")(x)         # [B, H, W, 255]
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from yolor_jax.errors import InputError

Shape = tuple[int, ...]
Leaves = dict[str, Float[Any, "..."]]

# The three readings of * in (1), and the g(z) with which each leaves x as it is.
OPERATORS = {
    "add": lambda x, g: x + g,
    "multiply": lambda x, g: x * g,
    "concat": lambda x, g: jnp.concatenate([g, x], axis=-1),
}
NEUTRAL = {"add": 0.0, "multiply": 1.0, "concat": 0.0}
# In the array library of their argument: the fold computes g(z) with NumPy, in float64.
NONLINEARITIES = {
    None: lambda h: h,
    "tanh": lambda h: h.__array_namespace__().tanh(h),
    "silu": lambda h: h * (1 + h.__array_namespace__().tanh(h / 2)) / 2,
}


@dataclasses.dataclass(frozen=True)
class Vector:
    """``g(z) = z``: independent dimensions, one base (paper, "vector").

    One leaf: ``z`` ``[C]``.
    """

    def initialise(self, key: jax.Array, shape: Shape, mean: float, std: float) -> Leaves:
        """Draws leaves whose g(z) is N(mean, std) in every entry.

        Args:
            key: a PRNG key.
            shape: of g(z): ``(C,)``, or ``(A, C)`` for a g(z) of its own for each of A anchors.
            mean: of the entries of g(z).
            std: their standard deviation.

        Returns:
            float32 leaves by name; with ``(A, C)`` each has a leading axis A.
        """
        return {"z": mean + std * _normal(key, shape)}

    def g(self, leaves: Mapping[str, Any]) -> Float[Any, "*A C"]:
        """The representation of given leaves, in their dtype and array library (JAX or NumPy)."""
        return leaves["z"]  # (2)


@dataclasses.dataclass(frozen=True)
class Network:
    """``g(z) = W z``: dependent dimensions (paper, "neural network").

    Leaves ``z`` ``[D]``, of length one at the start, and ``w0``, ``w1``, ... ``[D_in, D_out]``, one
    for each layer.

    Attributes:
        hidden: widths of hidden layers; none makes the network linear.
        nonlinearity: behind each hidden layer: None, "tanh" or "silu".
        prior: dimension D of z; twice the representation's if None.

    Raises:
        InputError: a width or dimension below 1, or a non-linearity that does not exist.
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

    def initialise(self, key: jax.Array, shape: Shape, mean: float, std: float) -> Leaves:
        """Draws leaves whose g(z) is N(mean, std) in every entry; as for `Vector`."""
        *leading, features = shape
        depth = len(self.hidden)
        z_key, *keys = jax.random.split(key, depth + 2)
        z = _normal(z_key, (*leading, self.prior or 2 * features))
        # Of length one: the gradient of g(z) by W is z, so that W learns as fast as a vector would.
        h = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
        leaves = {"z": h}
        for i, width in enumerate(self.hidden):
            # N(0, 1) meets the bend of a non-linearity: it neither saturates nor acts linearly.
            leaves[f"w{i}"] = _weights(keys[i], h, width, 0.0, 1.0)
            h = self._hidden_layer(h, leaves[f"w{i}"])
        leaves[f"w{depth}"] = _weights(keys[depth], h, features, mean, std)
        return leaves

    def g(self, leaves: Mapping[str, Any]) -> Float[Any, "*A C"]:
        """The representation of given leaves, in their dtype and array library (JAX or NumPy)."""
        h = leaves["z"]
        for i in range(len(self.hidden)):
            h = self._hidden_layer(h, leaves[f"w{i}"])
        return _times(h, leaves[f"w{len(self.hidden)}"])  # (3), as a row vector: z W

    def _hidden_layer(self, h: Float[Any, "*A D"], w: Float[Any, "*A D E"]) -> Float[Any, "*A E"]:
        return NONLINEARITIES[self.nonlinearity](_times(h, w))


@dataclasses.dataclass(frozen=True)
class Factorization:
    """``g(Z, c) = Z^T c``: a mixture of atoms (paper, "matrix factorization").

    Leaves ``atoms`` Z ``[D, C]`` and ``coefficients`` c ``[D]``, which are all equal at the start.

    Attributes:
        atoms: their number D; twice the representation's dimension if None.
        sparsity: weight of the penalty ``sum |c|`` in the loss (`models.implicits`); 0 for none.
        nonnegative: ``|Z|^T |c|``, non-negative matrix factorisation (NMF). As no entry of it can
            be negative, g(z) starts as the magnitudes of draws from N(mean, std).

    Raises:
        InputError: less than one atom, or a negative sparsity.
    """

    atoms: int | None = None
    sparsity: float = 0.0
    nonnegative: bool = False

    def __post_init__(self):
        _require_positive(atoms=1 if self.atoms is None else self.atoms)
        if not self.sparsity >= 0:
            raise InputError(f"got sparsity = {self.sparsity}; expected at least 0")

    def initialise(self, key: jax.Array, shape: Shape, mean: float, std: float) -> Leaves:
        """Draws leaves whose g(z) is N(mean, std) in every entry; as for `Vector`."""
        *leading, features = shape
        number = self.atoms or 2 * features
        # Of length one, so that the atoms learn as fast as a vector would.
        c = jnp.full((*leading, number), number**-0.5, jnp.float32)
        draw = _positive_weights if self.nonnegative else _weights
        return {"coefficients": c, "atoms": draw(key, c, features, mean, std)}

    def g(self, leaves: Mapping[str, Any]) -> Float[Any, "*A C"]:
        """The representation of given leaves, in their dtype and array library (JAX or NumPy)."""
        c, atoms = leaves["coefficients"], leaves["atoms"]
        # The magnitudes stand here, not in the leaves, so that any optimiser keeps the constraint.
        return _times(abs(c), abs(atoms)) if self.nonnegative else _times(c, atoms)  # (4)


VECTOR = Vector()
MODELLINGS = {"vector": Vector, "network": Network, "factorization": Factorization}
Modelling = Vector | Network | Factorization


def _normal(key: jax.Array, shape: Shape) -> Float[Array, "..."]:
    return jax.random.normal(key, shape, jnp.float32)


def _times(h: Float[Any, "*A D"], w: Float[Any, "*A D C"]) -> Float[Any, "*A C"]:
    """Vector times matrix, over any leading axes; NumPy or JAX arrays."""
    return (h[..., None, :] @ w)[..., 0, :]


def _weights(
    key: jax.Array, h: Float[Array, "*A D"], features: int, mean: float, std: float
) -> Float[Array, "*A D C"]:
    """Draws W such that the entries of h W are independent and N(mean, std), for this very h.

    With r = |h| and E standard normal: W = (mean h / r + std E) / r, so that
    h W = mean + std (h E / r), where h E / r is standard normal too.
    """
    norm = jnp.linalg.norm(h, axis=-1)[..., None, None]
    noise = _normal(key, (*h.shape, features))
    return (mean * h[..., None] / norm + std * noise) / norm


def _positive_weights(
    key: jax.Array, h: Float[Array, "*A D"], features: int, mean: float, std: float
) -> Float[Array, "*A D C"]:
    """Draws a positive W such that the entries of h W, h > 0, are magnitudes of N(mean, std)."""
    product_key, shares_key = jax.random.split(key)
    product = jnp.abs(mean + std * _normal(product_key, (*h.shape[:-1], features)))[..., None, :]
    # Each product is divided over the atoms at random: atoms that start equal would stay equal.
    shares = jax.random.exponential(shares_key, (*h.shape, features), jnp.float32)
    return product * shares / _times(h, shares)[..., None, :]


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"got {name} = {size}; expected at least 1")


def combine(
    operator: str, x: Float[Array, "*batch AC"], g: Float[Array, "*A Cz"]
) -> Float[Array, "*batch _"]:
    """``x * g`` for a constant g, broadcast over the batch: equation (1).

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


def pad_with_neutral(
    g: Float[Any, "*A c"], width: int, channels: tuple[int, int] | None, operator: str
) -> Float[Any, "*A C"]:
    """Pads a g(z) that acts on some channels to all of them; the rest keeps x as it is.

    Args:
        g: NumPy or JAX.
        width: number C of all channels.
        channels: (start, stop) of those that g acts on; None for all, where nothing is padded.
        operator: whose neutral element is the padding.
    """
    if channels is None:
        return g
    start, stop = channels
    xp = g.__array_namespace__()
    before = xp.full((*g.shape[:-1], start), NEUTRAL[operator], dtype=g.dtype)
    after = xp.full((*g.shape[:-1], width - stop), NEUTRAL[operator], dtype=g.dtype)
    return xp.concatenate([before, g, after], axis=-1)


class Implicit(nn.Module):
    """Combines a representation with implicit knowledge, ``y = x * g(z)``.

    Name the module ``implicit_<place>``, such as ``implicit_before``: by this name its leaves are
    found (`models.implicits.find`), frozen, and grouped in an optimiser.

    Attributes:
        operator: "add", "multiply" or "concat" (``[g(z); x]`` on channels).
        modelling: how g(z) is made: `Vector`, `Network` or `Factorization`; its leaves are float32.
        features: dimension of g(z); that of the channels it acts on if None. Only a concatenation
            may have another.
        groups: number A of equal groups of channels, each with a g(z) of its own: the leaves then
            have a leading axis A. 1 gives leaves without that axis.
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
        width, features = self._check(x.shape[-1])
        shape = (features,) if self.groups == 1 else (self.groups, features)
        g = jnp.asarray(self.modelling.g(self._leaves(shape)))
        return combine(self.operator, x, pad_with_neutral(g, width, self.channels, self.operator))

    def _check(self, channels: int) -> tuple[int, int]:
        """Channels of a group, and dimension of g(z); raises InputError where they do not fit."""
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
        width = channels // self.groups
        start, stop = self.channels or (0, width)
        features = stop - start if self.features is None else self.features
        _require_positive(features=features)
        fits = self.operator == "concat" or features == stop - start
        if width * self.groups != channels or not 0 <= start < stop <= width or not fits:
            raise InputError(
                f"g(z) with {features} features does not fit channels {start}..{stop} of "
                f"{channels} in {self.groups} groups; leave `features` out to take theirs"
            )
        return width, features

    def _leaves(self, shape: Shape) -> Leaves:
        """Declares what is learned: leaves such as ``z`` right below this module."""

        def draw(key: jax.Array) -> Leaves:
            return self.modelling.initialise(key, shape, NEUTRAL[self.operator], self.std)

        # `self.param` gives every leaf a key of its own, but leaves are drawn for one another (a W
        # for the h that it meets): all come from one key, and each declaration picks its own leaf.
        key = self.make_rng("params") if self.is_initializing() else None
        return {
            name: self.param(name, lambda own, name=name: draw(own if key is None else key)[name])
            for name in jax.eval_shape(draw, jax.random.key(0))
        }
