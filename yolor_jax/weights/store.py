"""Our own variables in one safetensors file, with what must be known to use them.

    save_variables("yolor_p6.safetensors", variables, meta)
    variables, meta = load_variables("yolor_p6.safetensors")    # bit-equal

A tensor is named by its collection and path, such as ``params/backbone/stem/conv/kernel``; ``meta``
stands as JSON in the file's own metadata, with the stamp of who wrote it. The layout is ours:
NHWC, kernels ``[h, w, in, out]``.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors
import safetensors.numpy

from yolor_jax import bucket
from yolor_jax.paths import user_path
from yolor_jax.stamp import STAMPS, stamp
from yolor_jax.trees import flatten_by_path
from yolor_jax.weights.foreign import WeightsError, naming, refuse_downloads_gone_wrong
from yolor_jax.whole_file import whole_file

KEY = "yolor_jax"
"""Where the metadata of the file holds ``meta``."""
FORMAT_KEY = "yolor_jax_format"
"""Where they hold the number of the layout of this file; files of before have none, and are 1."""
FORMAT = 1
REQUIRED = ("model", "implicit", "num_classes", "class_names", "image_size", "fused")


def save_variables(
    path: str | os.PathLike, variables: Mapping[str, Any], meta: Mapping[str, Any]
) -> None:
    """Write variables to a file that appears whole or not at all.

    Args:
        path: the file; replaced if there is one.
        variables: ``{"params": ..., "batch_stats": ...}``, or ``{"params": ...}`` if folded; arrays
            of any floating dtype. A collection without leaves is not kept.
        meta: JSON values, at least ``model`` (a name of the zoo), ``implicit`` (the description of
            `models.spec.with_implicit`; None for the model's own), ``num_classes``,
            ``class_names``, ``image_size`` in pixels, and ``fused``; also ``tasks`` beyond
            detection, if there are any, and ``anchors`` (`models.anchors.with_anchors`), if they
            are not the model's own. Behind the ``stamps`` that it has, if any, comes that of this
            process.

    Raises:
        InputError: ``meta`` lacks something.
        OSError: the file cannot be written.
    """
    _require_meta(meta)
    stamped = {**meta, STAMPS: [*meta.get(STAMPS, ()), stamp()]}
    # In C order: safetensors writes a transposed view as if it were not one.
    leaves = {
        name: np.asarray(leaf, order="C")
        for name, leaf in flatten_by_path(jax.device_get(variables)).items()
    }
    metadata = {KEY: json.dumps(stamped), FORMAT_KEY: str(FORMAT)}
    try:
        with whole_file(path) as temporary:
            safetensors.numpy.save_file(leaves, temporary, metadata=metadata)
    except safetensors.SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error


def load_variables(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file of `save_variables`.

    Args:
        path: the file.

    Returns:
        The variables as NumPy arrays in the dtypes of the file, and ``meta``.

    Raises:
        WeightsError: the file is damaged, of another kind, or was not written here.
        OSError: it cannot be opened.
    """
    with opened(path) as file:
        meta = _meta(file.metadata() or {})
        leaves = {name: file.get_tensor(name) for name in file.keys()}
    return flax.traverse_util.unflatten_dict(leaves, sep="/"), meta


def load_meta(path: str | os.PathLike) -> dict[str, Any]:
    """``meta`` of a file of `save_variables`, without its tensors; raises as `load_variables`."""
    with opened(path) as file:
        return _meta(file.metadata() or {})


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """A safetensors file; what is wrong with it becomes a WeightsError that names it."""
    path = user_path(path)
    with bucket.on_disk(path) as local, naming(path):
        with local.open("rb") as file:
            refuse_downloads_gone_wrong(file.read(16))
        try:
            with safetensors.safe_open(local, framework="np") as file:
                yield file
        except safetensors.SafetensorError as error:
            raise WeightsError(
                f"is no whole safetensors file ({error}); expected one that yolor has written "
                "(weights of the original: yolor convert), fetch or write it again"
            ) from error


def _meta(metadata: Mapping[str, str]) -> dict[str, Any]:
    """``meta`` out of a file's metadata."""
    if KEY not in metadata:
        raise WeightsError(
            "is a safetensors file of another program: its metadata have no entry "
            f"{KEY!r}; `yolor convert` makes such a file of published weights"
        )
    meta = json.loads(metadata[KEY])
    _require_format(metadata.get(FORMAT_KEY, "1"), meta)
    _require_meta(meta)
    return meta


def _require_format(number: str, meta: Any) -> None:
    """Raises a WeightsError for a file of a layout that is not known yet."""
    if number == str(FORMAT):
        return
    try:
        version = f"yolor-jax {meta[STAMPS][-1]['version']}"
    except (KeyError, IndexError, TypeError):
        version = "a later yolor-jax"
    raise WeightsError(
        f"is of format {number}, as {version} writes it; this version reads format {FORMAT}: "
        "install that one to read it"
    )


def _require_meta(meta: Mapping[str, Any]) -> None:
    missing = [name for name in REQUIRED if name not in meta]
    if missing:
        raise WeightsError(f"what is known of the variables lacks {', '.join(missing)}")
