"""From a file of weights, whoever wrote it, to a trained network, and back to the original's names.

```python
converted = read(user_path("yolor_p6.pt"), Asked())
converted.trained.predict("photo.jpg")
```
"""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from yolor_jax import bucket
from yolor_jax.data.classes import COCO_NAMES
from yolor_jax.errors import InputError
from yolor_jax.models.detector import find_spec, require_multiple, variable_shapes
from yolor_jax.paths import Path
from yolor_jax.runs.opening import load
from yolor_jax.runs.trained import Trained
from yolor_jax.trees import differences, flatten_by_path, require_finite
from yolor_jax.weights import hub
from yolor_jax.weights.convert import COUNTERS, from_torch, to_torch
from yolor_jax.weights.recognise import (
    Format,
    find_darknet_model,
    find_model,
    read_darknet_of,
    recognise,
)
from yolor_jax.weights.safetensors_file import read_safetensors
from yolor_jax.weights.torch_file import read_torch
from yolor_jax.whole_file import whole_file

COCO_CLASSES = len(COCO_NAMES)


class Asked(NamedTuple):
    """What a user says of a file. None: the file says it, or there is one answer.

    Attributes:
        model: a name of the zoo.
        step: of a run: its number, ``"best"`` or ``"latest"``.
        classes: their number.
        class_names: a text file, one name a line.
        image_size: side that detection uses, in pixels.
    """

    model: str | None = None
    step: int | str | None = None
    classes: int | None = None
    class_names: Path | None = None
    image_size: int | None = None


class Converted(NamedTuple):
    """A network, and what it was read from.

    Attributes:
        trained: the network.
        kind: of the file, in words.
        dtypes: how many tensors it had of each, such as ``576 float16``, the most frequent first.
    """

    trained: Trained
    kind: str
    dtypes: list[str]


def read(path: Path | str, asked: Asked) -> Converted:
    """The network in a file or run. What it is shows in its content.

    Args:
        path: on a disk or in a bucket; or the address of a file on the hub.
        asked: what a user says of it.

    Raises:
        InputError: the input cannot be read, or is not of what was asked for.
    """
    path = hub.fetch(path) if hub.is_address(path) else path
    if path.is_dir():
        return _of_ours(path, asked, "moving average of a run")
    with bucket.on_disk(path) as local:
        kind = recognise(local)
        if kind is Format.OURS:
            return _of_ours(local, asked, kind.value)
        return _of_the_original(local, asked, kind)


def write_torch(path: Path, trained: Trained) -> None:
    """Writes the original's state dict as .safetensors, whole or not at all.

    Raises:
        InputError: the network is folded.
        OSError: the file cannot be written.
    """
    if trained.fused:
        raise InputError("the network is folded; the original has no names for such weights")
    tensors = to_torch(trained.spec, trained.variables)
    with whole_file(path) as temporary:
        safetensors.numpy.save_file(tensors, temporary)


def _of_ours(path: Path, asked: Asked, kind: str) -> Converted:
    """Variables of our own, checked against the model that they say they are of."""
    trained = load(path, asked.step)
    model = trained.meta["model"]
    if asked.model not in (None, model):
        raise InputError(f"{path} is of {model}; leave out --model {asked.model}")
    wrong = differences(trained.variables, variable_shapes(trained.module))
    if wrong:
        raise InputError(
            f"{path} does not hold what {model} needs, {len(wrong)} differences:\n  "
            + "\n  ".join(wrong)
        )
    meta = _meta(path, asked, {"fused": False, **trained.meta})
    dtypes = _dtypes(flatten_by_path(trained.variables))
    return Converted(dataclasses.replace(trained, meta=meta), kind, dtypes)


def _of_the_original(path: Path, asked: Asked, kind: Format) -> Converted:
    """Tensors with the original's names, or without names, as variables of their model."""
    spec = None if asked.model is None else find_spec(asked.model)
    if kind is Format.DARKNET:
        classes = COCO_CLASSES if asked.classes is None else asked.classes
        if classes < 1:
            raise InputError(f"--classes is {classes}; expected at least 1")
        spec = spec or find_darknet_model(path, classes)
        tensors = read_darknet_of(path, spec, classes)
    else:
        tensors = (read_torch if kind is Format.TORCH else read_safetensors)(path)
        spec = spec or find_model(tensors)
    variables, num_classes = from_torch(spec, tensors)
    require_finite(tensors, str(path))
    known = {
        "model": spec.name,
        "implicit": None,
        "num_classes": num_classes,
        "image_size": spec.image_size,
        "fused": False,
    }
    used = {name: array for name, array in tensors.items() if not name.endswith(COUNTERS)}
    trained = Trained(spec, variables, _meta(path, asked, known))
    return Converted(trained, kind.value, _dtypes(used))


def _meta(path: Path, asked: Asked, known: Mapping[str, Any]) -> dict[str, Any]:
    """What `store` writes beside the variables: what is known, what was asked for, and defaults."""
    classes = known["num_classes"]
    if asked.classes not in (None, classes):
        raise InputError(f"{path} is of {classes} classes; leave out --classes {asked.classes}")
    numbered = [f"class{i}" for i in range(classes)]
    meta = {"class_names": list(COCO_NAMES) if classes == COCO_CLASSES else numbered, **known}
    if asked.class_names is not None:
        meta["class_names"] = _class_names(asked.class_names, classes)
    if asked.image_size is not None:
        require_multiple((asked.image_size,), find_spec(known["model"]).strides[-1])
        meta["image_size"] = asked.image_size
    return meta


def _class_names(path: Path, num_classes: int) -> list[str]:
    """The lines of a text file, one for each class."""
    try:
        names = path.read_text(encoding="utf-8").strip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from error
    names = [name.strip() for name in names]
    if len(names) != num_classes or len(set(names)) != num_classes or "" in names:
        raise InputError(
            f"{path} has {len(names)} lines with {len(set(names) - {''})} different names; "
            f"expected one name a line for {num_classes} classes"
        )
    return names


def _dtypes(leaves: Mapping[str, np.ndarray]) -> list[str]:
    counts = collections.Counter(str(leaf.dtype) for leaf in leaves.values())
    return [f"{number} {dtype}" for dtype, number in counts.most_common()]
