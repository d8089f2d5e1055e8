"""Exported files by their format: written from a network, opened by what runs them.

```python
file = write(path, spec, variables, meta, Form((640, 640)))
open_exported(user_path("yolor_csp.onnx")).class_names
```
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from yolor_jax.errors import InputError
from yolor_jax.exports import SUFFIXES, metadata, onnx_file, savedmodel, stablehlo
from yolor_jax.exports.exported import Exported
from yolor_jax.exports.form import Form
from yolor_jax.exports.stages import stages_of
from yolor_jax.models.detector import build, require_multiple
from yolor_jax.models.spec import ModelSpec, with_tasks
from yolor_jax.paths import Path

_WRITERS = {
    SUFFIXES["onnx"]: onnx_file.write,
    SUFFIXES["stablehlo"]: stablehlo.write,
    SUFFIXES["savedmodel"]: savedmodel.write,
}
_READERS = {
    SUFFIXES["onnx"]: onnx_file.OnnxFile,
    SUFFIXES["stablehlo"]: stablehlo.StableHlo,
    SUFFIXES["savedmodel"]: savedmodel.SavedModel,
}


def write(
    path: Path,
    spec: ModelSpec,
    variables: Mapping[str, Any],
    meta: Mapping[str, Any],
    form: Form,
    *,
    licence: str | None = None,
    detection_only: bool = False,
    calibration: Iterable[np.ndarray] | None = None,
) -> None:
    """Exports a folded network; the ending of the name says to which format.

    Args:
        path: the file; replaced if there is one. It appears whole or not at all.
        spec: the model.
        variables: folded, NumPy arrays.
        meta: what is known of the network (`runs.trained.Trained.meta`).
        form: of the file.
        licence: of the weights, in words, for the file's description.
        detection_only: leave out what the network does beyond detection.
        calibration: letterboxed images uint8 [H, W, 3], at least one, for a file of int8.

    Raises:
        ImportError: the library of the format is not installed; names the extra.
        InputError: an unknown ending, a size that does not fit, a task that has no place in the
            file, or a dtype or an operation that the format lacks.
        OSError: the file cannot be written.
    """
    require_format(path)
    if form.dtype == "int8" and path.suffix != SUFFIXES["onnx"]:
        raise InputError(f"int8 is onnxruntime's; export it to onnx, got {path.name}")
    if (form.dtype == "int8") != (calibration is not None):
        raise InputError(
            f"got dtype {form.dtype} {'without' if calibration is None else 'with'} calibration; "
            "int8 needs pictures that show its ranges (--calibrate FOLDER), and no other dtype does"
        )
    require_multiple(form.image_size, spec.strides[-1])
    if spec.tasks and not detection_only:
        raise InputError(
            f"an exported file holds detection, and this network also does {', '.join(spec.tasks)};"
            " --detection-only (detection_only=True) exports its boxes alone"
        )
    module = build(with_tasks(spec, ()), meta["num_classes"], fused=True)
    stages = stages_of(module, variables, form)
    described = metadata.describe(spec, meta, form, licence=licence)
    writer = _WRITERS[path.suffix]
    if calibration is not None:
        batches = (form.as_taken(np.stack([one] * (form.batch or 1))) for one in calibration)
        writer = functools.partial(onnx_file.write_int8, batches=batches)
    writer(path, stages, described, form)


def open_exported(path: Path) -> Exported:
    """Opens a file by its own runtime.

    Raises:
        ImportError: the runtime is not installed; names the extra.
        InputError: the file is damaged, of another kind or of a later version.
        OSError: it cannot be read.
    """
    require_format(path)
    return _READERS[path.suffix](path)


def require_format(path: Path) -> None:
    """Raises an InputError unless the ending of a name is that of a format."""
    if path.suffix not in _WRITERS:
        known = ", ".join(f"{suffix} ({name})" for name, suffix in SUFFIXES.items())
        raise InputError(f"{path} has no ending of an exported file; expected one of {known}")
