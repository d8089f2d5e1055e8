"""What a file of weights is, by its content, and which model of the zoo it is of.

```python
recognise("yolor_p6.pt")                            # Format.TORCH
find_model(read_torch("yolor_p6.pt"))               # the spec of yolor_p6
find_darknet_model("yolov4-csp.weights", 80)        # the spec of yolov4_csp
```
"""

import enum
import os
import pathlib
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import safetensors

from yolor_jax.models.spec import Implicits, ModelSpec
from yolor_jax.models.zoo import MODELS
from yolor_jax.weights import store
from yolor_jax.weights.convert import COUNTERS, expected_shapes, from_torch
from yolor_jax.weights.darknet_file import HEADER, conv_sections, read_darknet
from yolor_jax.weights.foreign import WeightsError, naming, refuse_downloads_gone_wrong
from yolor_jax.weights.names import torch_constants, torch_names


class Format(enum.Enum):
    """A kind of file, in words for the user."""

    TORCH = "PyTorch checkpoint"
    SAFETENSORS = "safetensors file"
    DARKNET = "darknet file"
    OURS = "safetensors file of yolor"


def recognise(path: str | os.PathLike) -> Format:
    """What a file is.

    A damaged file is taken for what it once was; the reader of that format says what is wrong.

    Raises:
        WeightsError: it is none of these.
        OSError: it cannot be opened.
    """
    path = pathlib.Path(path)
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    with naming(path):
        # First, because the eight bytes of length in front of the JSON can look like anything.
        if head[8:9] == b"{":
            return Format.OURS if _is_ours(path) else Format.SAFETENSORS
        refuse_downloads_gone_wrong(head)
        if head.startswith((b"PK", b"\x80")):  # a zip archive; a bare pickle, as before torch 1.6
            return Format.TORCH
        major, minor = struct.unpack_from("<2i", head.ljust(8, b"\xff"))
        if 0 <= major < 10 and 0 <= minor < 10:
            return Format.DARKNET
        raise WeightsError(
            f"begins with {head[:8]!a}, expected a PyTorch checkpoint (.pt), a safetensors file "
            "or a darknet file (.weights); give the file itself, unpacked"
        )


def _is_ours(path: pathlib.Path) -> bool:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return store.KEY in (file.metadata() or {})
    except safetensors.SafetensorError:
        return False


def find_model(state_dict: Mapping[str, np.ndarray]) -> ModelSpec:
    """The one model of the zoo whose tensors have these names, and these shapes where names agree.

    Args:
        state_dict: of the original, in either form.

    Raises:
        WeightsError: no model of the zoo fits, or several do.
    """
    given = {name for name in state_dict if not name.endswith(COUNTERS)}
    names = {model: {*torch_names(spec), *torch_constants(spec)} for model, spec in MODELS.items()}
    same = [model for model in names if names[model] == given]
    if len(same) == 1:
        return MODELS[same[0]]
    if not same:
        nearest = min(names, key=lambda model: len(names[model] ^ given))
        missing, unused = len(names[nearest] - given), len(given - names[nearest])
        raise WeightsError(
            f"these {len(given)} tensors are those of no model of the zoo; nearest is {nearest}, "
            f"with {missing} names missing and {unused} unused. Name the model to see every "
            f"difference; there are: {', '.join(MODELS)}"
        )
    return _only([model for model in same if _fits(MODELS[model], state_dict)], same)


def find_darknet_model(path: str | os.PathLike, num_classes: int) -> ModelSpec:
    """The one model of the zoo that has as many numbers as a darknet file.

    Raises:
        WeightsError: no model of the zoo fits, or several do.
    """
    count = (os.path.getsize(path) - HEADER.size) / 4
    models = [model for model, spec in MODELS.items() if _in_darknet(spec)]
    fitting = [
        model
        for model in models
        if count == sum(s.size for s in expected_shapes(MODELS[model], num_classes).values())
    ]
    with naming(pathlib.Path(path)):
        return _only(fitting, models, f" with {num_classes} classes")


def read_darknet_of(
    path: str | os.PathLike, spec: ModelSpec, num_classes: int
) -> dict[str, np.ndarray]:
    """The tensors of a darknet file of a known model, as `read_darknet` gives them.

    Raises:
        WeightsError: the model has what darknet files cannot hold, or the file does not fit it.
    """
    if not _in_darknet(spec):
        models = [model for model, other in MODELS.items() if _in_darknet(other)]
        raise WeightsError(
            f"{path}: darknet files hold neither implicit knowledge nor joint batch norms, and "
            f"{spec.name} has them; expected one of {', '.join(models)}"
        )
    shapes = {name: leaf.shape for name, leaf in expected_shapes(spec, num_classes).items()}
    return read_darknet(path, conv_sections(shapes))


def _in_darknet(spec: ModelSpec) -> bool:
    return spec.implicit == Implicits() and not spec.joint_norm


def _fits(spec: ModelSpec, state_dict: Mapping[str, np.ndarray]) -> bool:
    try:
        from_torch(spec, state_dict)
    except ValueError:
        return False
    return True


def _only(fitting: Sequence[str], tried: Sequence[str], what: str = "") -> ModelSpec:
    """The spec of the only model that fits."""
    match fitting:
        case [model]:
            return MODELS[model]
        case []:
            raise WeightsError(
                f"these weights have the sizes of none of {', '.join(tried)}{what}; name the "
                "model to see what differs"
            )
    raise WeightsError(
        f"these weights fit {' and '.join(fitting)}{what}, which have equal tensors; name the model"
    )
