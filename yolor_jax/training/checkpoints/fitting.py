"""Whether a checkpoint belongs to a run and fits its state; a sentence for whatever differs.

```python
require_same(saved_meta, meta, "runs/csp holds a run of another configuration", "Choose ...")
require_same_leaves(saved_shapes, shapes, folder)
```
"""

import json
import os
from typing import Any

from jaxtyping import PyTree

from yolor_jax import trees
from yolor_jax.errors import InputError


def require_same(found: dict, expected: dict, what: str, advice: str) -> None:
    """Raise an InputError unless two JSON dictionaries are equal.

    Args:
        found: what a checkpoint says.
        expected: what it should say.
        what: begins the message, for example "<folder> holds another model".
        advice: ends it.

    Raises:
        InputError: with one clause for each entry that differs.
    """
    there, here = _entries(found), _entries(json.loads(json.dumps(expected)))
    clauses = [
        f"{name} is {there.get(name, 'absent')!r} there and {here.get(name, 'absent')!r} here"
        for name in sorted(there.keys() | here.keys())
        if name not in there or name not in here or there[name] != here[name]
    ]
    if clauses:
        raise InputError(f"{what}: {'; '.join(clauses)}. {advice}")


def require_same_leaves(saved: PyTree, wanted: PyTree, folder: os.PathLike) -> None:
    """Raise an InputError unless two trees have leaves of the same paths, shapes and dtypes.

    Args:
        saved: what a checkpoint holds.
        wanted: what is to be restored.
        folder: of the checkpoint, for the message.

    Raises:
        InputError: with one line for each leaf that differs.
    """
    sentences = trees.differences(saved, wanted)
    if sentences:
        lines = "\n  ".join(sentences)
        raise InputError(
            f"the checkpoint {folder} does not fit this model and optimiser, "
            f"{len(sentences)} of its leaves differ; nothing was restored:\n  {lines}"
        )


def _entries(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Entries of nested dictionaries by path; a list is one entry."""
    entries = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        entries |= _entries(value, f"{prefix}{name}/") if inner else {f"{prefix}{name}": value}
    return entries
