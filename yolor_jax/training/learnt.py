"""What losses learn beside the network: under ``task_loss/`` among the parameters in training.

They are in state and checkpoint, frozen by the same expression as others. The network never reads
them; `of_network` leaves them out.

    variables = of_network(state.ema_variables)
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

SUBTREE = "task_loss"
"""Where the parameters of the losses lie."""


class TaskLoss(nn.Module):
    """The parameters of the losses.

    Attributes:
        weighed: the tasks that have a log variance, 0 at first.
        identities: outputs I of the classifier; 0 for none.
        features: its inputs D.
    """

    weighed: tuple[str, ...]
    identities: int
    features: int

    @nn.compact
    def __call__(self) -> dict[str, Any]:
        """The parameters: ``log_variance`` by task, ``identities`` with kernel and bias."""
        learnt = {}
        if self.weighed:
            zeros = {task: jnp.zeros((), jnp.float32) for task in self.weighed}
            learnt["log_variance"] = self.param("log_variance", lambda key: zeros)
        if self.identities:
            learnt["identities"] = _Linear(self.features, self.identities, name="identities")()
        return learnt


class _Linear(nn.Module):
    """Kernel and bias of a linear classifier."""

    features: int
    classes: int

    @nn.compact
    def __call__(self) -> dict[str, Float[Array, "..."]]:
        draw = nn.initializers.normal(0.01)
        return {
            "kernel": self.param("kernel", draw, (self.features, self.classes), jnp.float32),
            "bias": self.param("bias", nn.initializers.zeros, (self.classes,), jnp.float32),
        }


def of_network(variables: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Variables without what only losses read."""
    params = {name: part for name, part in variables["params"].items() if name != SUBTREE}
    return {**variables, "params": params}


def identities_of(params: Mapping[str, PyTree]) -> int:
    """The outputs of the classifier over identities among the parameters; 0 if there is none."""
    classifier = params.get(SUBTREE, {}).get("identities")
    return 0 if classifier is None else len(classifier["bias"])
