"""Which implicit knowledge stands at one place of a network, as data.

```python
Knowledge()                                            # + iFA or + iPR, a vector
Knowledge("multiply", scope="anchor")                  # x iFA*
Knowledge("add", Factorization(atoms=64))              # another modelling of g(z)
```
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float

from yolor_jax.errors import InputError
from yolor_jax.nn.implicit import OPERATORS, VECTOR, Implicit, Modelling, pad_with_neutral

SCOPES = ("all", "anchor", "size")
SIZE = (2, 4)  # width and height among the outputs x y w h objectness classes


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """Implicit knowledge in front of a convolution or behind it.

    Attributes:
        operator: "add", "multiply" or "concat" (only in front).
        modelling: of g(z).
        scope: "all": one g(z) for all channels. "anchor": one for each anchor, on the features
            that its predictions are made of (iFA*) or on the predictions. "size": one for each
            anchor, on the width and height that it predicts (iPR*).
        std: standard deviation of the entries of g(z) at the start.
    """

    operator: str = "add"
    modelling: Modelling = VECTOR
    scope: str = "all"
    std: float = 0.02

    def __post_init__(self):
        for what, value, known in (
            ("operator", self.operator, tuple(OPERATORS)),
            ("scope", self.scope, SCOPES),
        ):
            if value not in known:
                raise InputError(f"got the {what} {value!r}; expected one of {', '.join(known)}")
        if not self.std >= 0:
            raise InputError(f"got std = {self.std}; expected at least 0")

    def module(self, anchors: int, name: str) -> Implicit:
        """The Linen module; ``anchors`` A is the number of anchors that a convolution predicts."""
        return Implicit(
            self.operator,
            self.modelling,
            groups=1 if self.scope == "all" else anchors,
            channels=SIZE if self.scope == "size" else None,
            std=self.std,
            name=name,
        )

    def constant(self, leaves: Mapping[str, Any], width: int) -> Float[Any, "*A C"]:
        """The constant that given leaves stand for: g(z), padded where it acts on some channels.

        Args:
            leaves: of the module, NumPy or JAX.
            width: number C of channels of the group that it acts on; matters to the scope "size"
                alone.

        Returns:
            ``[C]``, or ``[A, C]`` where each anchor has its own, in the dtype of the leaves.
        """
        channels = SIZE if self.scope == "size" else None
        return pad_with_neutral(self.modelling.g(leaves), width, channels, self.operator)
