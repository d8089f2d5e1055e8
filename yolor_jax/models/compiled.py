"""What a network is once it is compiled: how many operations, and what it computes.

```python
form = measure(module, variables, image_size=640)
form.operations, form.flops
```
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from yolor_jax.models.detector import Detector
from yolor_jax.models.summary import summarize

# An instruction of the compiled program that computes something.
_OPERATION = re.compile(r"^\s+(ROOT )?%?[\w.-]+ = .*? (?P<name>[\w-]+)\(")
_NO_OPERATIONS = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}


class Compiled(NamedTuple):
    """What one form of a network, folded or not, needs and gives.

    Attributes:
        parameters: entries of its parameters.
        statistics: entries of its running statistics.
        flops: of the convolutions, for one image of the size that was asked for.
        operations: instructions of the program that compute something; a fusion is one.
        logits: all outputs on one random image of two cells a side at the coarsest level.
    """

    parameters: int
    statistics: int
    flops: int
    operations: int
    logits: list[np.ndarray]


def measure(module: Detector, variables: Mapping[str, Any], image_size: int) -> Compiled:
    """Compiles a network and applies it to a random image.

    Args:
        module: the network.
        variables: of it.
        image_size: side in pixels, of which the FLOPs are told.
    """
    side = 2 * module.spec.strides[-1]  # the operations do not depend on the size
    image = np.random.default_rng(0).random((1, side, side, 3), np.float32)
    compiled = jax.jit(module.apply).lower(variables, image).compile()
    return Compiled(
        parameters=_entries(variables["params"]),
        statistics=_entries(variables.get("batch_stats", {})),
        flops=summarize(module, (image_size, image_size)).total.flops,
        operations=count_operations(compiled.as_text()),
        logits=jax.tree.leaves(jax.device_get(compiled(variables, image))),
    )


def count_operations(program: str) -> int:
    """Instructions of a compiled program's entry that compute something; a fusion is one."""
    entry = program[program.index("\nENTRY ") :].partition("\n}")[0]
    names = (match["name"] for match in map(_OPERATION.match, entry.splitlines()) if match)
    return sum(name not in _NO_OPERATIONS for name in names)


def _entries(tree: Mapping[str, Any]) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
