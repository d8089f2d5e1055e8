"""Weights from a PyTorch checkpoint, without torch and without running the pickle's code.

    tensors = read_torch("yolor_p6.pt")   # {'module_list.0.Conv2d.weight': array}

Reads what ``torch.save`` has written since 1.6: a state dict, alone or in a dict, or a pickled
module, whose own classes are neither needed nor imported. See `torch_pickle` for what is refused.
"""

import os
import pathlib
from typing import Any

import numpy as np

from yolor_jax.weights import torch_pickle
from yolor_jax.weights.foreign import WeightsError, naming
from yolor_jax.weights.torch_archive import TorchArchive
from yolor_jax.weights.torch_pickle import Placeholder, Tensor

KEYS = ("ema", "model", "state_dict")
"""Where a checkpoint keeps its weights, the best first."""
PARALLEL = "module."
"""What DataParallel puts in front of every name."""
MAX_NAMES = 100_000
"""Tensors and modules; the largest model has about 2,000."""
MAX_NAME_LENGTH = 1000


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by their state-dict names, in its order.

    Takes ``ema`` if that holds tensors, else ``model``, else ``state_dict``, else the dict itself.

    Args:
        path: a file of ``torch.save``.

    Returns:
        Read-only arrays in the file's own dtypes (bfloat16 by ml_dtypes) and layout; a transposed
        tensor is a transposed view. ``num_batches_tracked`` is among them; ``module.`` before all
        names is gone.

    Raises:
        WeightsError: if the file is damaged, of another kind, asks for a class that is not
            allowed, or holds no tensors. Nothing of the file is ever executed.
        OSError: if it cannot be opened.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file, naming(path):
        archive = TorchArchive(file)
        tensors = _weights(torch_pickle.load(archive.pickle()))
        return {name: archive.array(tensor) for name, tensor in tensors.items()}


def _weights(checkpoint: Any) -> dict[str, Tensor]:
    """The state dict that a checkpoint is about."""
    choices = [checkpoint]
    if isinstance(checkpoint, dict):
        choices = [*(checkpoint.get(key) for key in KEYS), checkpoint]
    tensors = next(filter(None, map(_state_dict, choices)), {})
    if not tensors:
        keys = list(checkpoint) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise WeightsError(
            f"holds no tensors that can be found (got {ascii(keys)[:200]}), expected a state dict "
            f"or a module, alone or as one of {', '.join(KEYS)}"
        )
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _state_dict(value: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, of a module, or of (module, updates); empty if it is neither."""
    if isinstance(value, tuple) and len(value) == 2:
        value = value[0]
    if isinstance(value, Placeholder) and isinstance(value.state, dict):
        return _module_tensors(value)
    if isinstance(value, dict) and all(isinstance(item, Tensor) for item in value.values()):
        return {_full_name("", name): tensor for name, tensor in value.items()}
    return {}


def _module_tensors(root: Placeholder) -> dict[str, Tensor]:
    """Parameters and persistent buffers of a module and those below it, in state-dict order."""
    tensors: dict[str, Tensor] = {}
    visited = 0
    pending = [("", root)]
    while pending:
        prefix, module = pending.pop()
        visited += 1
        parameters = _members(module, "_parameters", Tensor)
        buffers = _members(module, "_buffers", Tensor)
        passing = module.state.get("_non_persistent_buffers_set", [])
        if not isinstance(passing, list):
            raise WeightsError(
                f"has an object {module.name} whose _non_persistent_buffers_set is no set, "
                "expected a module; save its state_dict() with torch.save and read that"
            )
        kept = {name: buffer for name, buffer in buffers.items() if name not in passing}
        for name, tensor in (parameters | kept).items():
            tensors[_full_name(prefix, name)] = tensor
        for name, child in reversed(_members(module, "_modules", Placeholder).items()):
            pending.append((_full_name(prefix, name) + ".", child))
        if visited + len(pending) + len(tensors) > MAX_NAMES:
            raise WeightsError(
                f"has more than {MAX_NAMES} modules and tensors, or a module inside itself; "
                "the file is damaged or made to do harm"
            )
    return tensors


def _members(module: Placeholder, kind: str, of_type: type) -> dict[Any, Any]:
    """The parameters, buffers or modules that are there: a missing bias is None."""
    members = module.state.get(kind, {}) if isinstance(module.state, dict) else None
    if not isinstance(members, dict) or not all(
        member is None or isinstance(member, of_type) for member in members.values()
    ):
        raise WeightsError(
            f"has an object {module.name} whose {kind} are not of type {of_type.__name__}, "
            "expected a module; save its state_dict() with torch.save and read that"
        )
    return {name: member for name, member in members.items() if member is not None}


def _full_name(prefix: str, name: Any) -> str:
    """The state-dict name of a tensor or module."""
    whole = f"{prefix}{name}" if isinstance(name, str) else ""
    if not 0 < len(whole) <= MAX_NAME_LENGTH or not whole.isprintable():
        raise WeightsError(
            f"has a tensor or module named {ascii(name)[:100]}, expected 1 to {MAX_NAME_LENGTH} "
            "printable characters; the file is damaged or made to do harm"
        )
    return whole
