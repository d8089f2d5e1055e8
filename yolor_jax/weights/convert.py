"""State dicts of the original to our variables and back.

    variables, num_classes = from_torch(MODELS["yolor_p6"], read_torch("yolor_p6.pt"))
    state_dict = to_torch(MODELS["yolor_p6"], variables)        # bit-equal

Nothing is skipped and nothing is guessed: a tensor that is missing, unused or of another shape
makes an error that lists all of them.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.models.detector import build, require_variables_of, variable_shapes
from yolor_jax.models.spec import ModelSpec
from yolor_jax.trees import differences, flatten_by_path
from yolor_jax.weights.names import from_torch_layout, to_torch_layout, torch_constants, torch_names

COUNTERS = "num_batches_tracked"  # of batch norms; read by nothing at a fixed momentum


def from_torch(spec: ModelSpec, state_dict: Mapping[str, np.ndarray]) -> tuple[dict, int]:
    """Our variables from a state dict of the original, of either form.

    Args:
        spec: the model.
        state_dict: arrays by name, PyTorch's layout, any floating dtype.

    Returns:
        ``{"params": ..., "batch_stats": ...}`` in float32, and the number of classes.

    Raises:
        InputError: tensors that are missing, unused, of another shape, or constants (anchors) of
            another value; the message lists all of them.
    """
    given = {name: a for name, a in state_dict.items() if not name.endswith(COUNTERS)}
    num_classes = _num_classes(spec, given)
    given = {name: np.asarray(array, np.float32) for name, array in given.items()}
    names, constants = torch_names(spec), torch_constants(spec)
    wrong = differences(given, expected_shapes(spec, num_classes))
    wrong += [
        f"{name} has other values than the model's: {given[name].ravel()[:4]} ..., "
        f"expected {constant.ravel()[:4]} ..."
        for name, constant in constants.items()
        if name in given
        and given[name].shape == constant.shape
        and not np.allclose(given[name], constant, rtol=1e-3)
    ]
    if wrong:
        raise InputError(
            f"these weights are not those of {spec.name} with {num_classes} classes, "
            f"{len(wrong)} differences:\n  " + "\n  ".join(wrong)
        )
    variables: dict[str, Any] = {}
    for name, (collection, path) in names.items():
        node = variables.setdefault(collection, {})
        *parents, leaf = path.split("/")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = from_torch_layout(path, given[name])
    return variables, num_classes


def to_torch(spec: ModelSpec, variables: Mapping) -> dict[str, np.ndarray]:
    """The original's state dict, without the counters of its batch norms.

    Args:
        spec: the model.
        variables: not folded.

    Returns:
        Contiguous float32 arrays by name, PyTorch's layout, constants included.

    Raises:
        InputError: the variables are not those of the model; lists what differs.
    """
    variables = jax.device_get(variables)
    require_variables_of(spec, variables)
    leaves = flatten_by_path(variables)
    state_dict = {
        name: np.ascontiguousarray(
            to_torch_layout(path, leaves[f"{collection}/{path}"]), dtype=np.float32
        )
        for name, (collection, path) in torch_names(spec).items()
    }
    return state_dict | torch_constants(spec)


def expected_shapes(spec: ModelSpec, num_classes: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the original's state dict of a model, without the counters."""
    shapes = flatten_by_path(variable_shapes(build(spec, num_classes)))

    def torch_shape(collection: str, path: str) -> np.ndarray:
        nothing = np.broadcast_to(np.float32(0), shapes[f"{collection}/{path}"].shape)
        return to_torch_layout(path, nothing)

    arrays = {name: torch_shape(*ours) for name, ours in torch_names(spec).items()}
    arrays |= torch_constants(spec)
    return {name: jax.ShapeDtypeStruct(a.shape, a.dtype) for name, a in arrays.items()}


def _num_classes(spec: ModelSpec, state_dict: Mapping[str, np.ndarray]) -> int:
    """K from the outputs A (5 + K) of the first prediction convolution."""
    ours = ("params", "head/level0/conv/kernel")
    name = next(theirs for theirs, path in torch_names(spec).items() if path == ours)
    anchors = len(spec.anchors[0])
    if name not in state_dict:
        raise InputError(
            f"no tensor {name}, the first prediction of {spec.name}: these are the weights of "
            f"another model. They begin with {', '.join(list(state_dict)[:3])}"
        )
    outputs = state_dict[name].shape[0] if state_dict[name].ndim else 0
    if outputs % anchors or outputs // anchors <= 5:
        raise InputError(
            f"{name} has {outputs} outputs, expected {anchors} x (5 + classes): these are the "
            f"weights of another model than {spec.name}"
        )
    return outputs // anchors - 5
