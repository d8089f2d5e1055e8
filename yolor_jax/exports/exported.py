"""An exported file, opened by its own runtime: one more way to compute what a network says.

```python
file = open_exported("yolor_csp.onnx")
file.compute(file.form.as_taken(canvases), ["boxes", "scores"])
```
"""

import abc
import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from yolor_jax.exports import stages
from yolor_jax.exports.form import Form
from yolor_jax.exports.metadata import require_ours
from yolor_jax.exports.stages import Found
from yolor_jax.inference.prediction import NmsConfig
from yolor_jax.paths import Path


class Exported(abc.ABC):
    """A file that `yolor export` wrote.

    Attributes:
        path: of the file.
        metadata: what it says of itself (`exports.metadata`).
        form: of the file.
    """

    runtime: str
    """What computes it, with its version."""

    def __init__(self, path: Path, metadata: Mapping[str, Any]):
        """Reads the description.

        Raises:
            InputError: it is none of ours, or of a later version.
        """
        require_ours(metadata, path)
        self.path = path
        self.metadata = metadata
        self.form = Form.of(metadata)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return tuple(self.metadata["class_names"])

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the raw levels, finest first."""
        return stages.level_names(len(self.metadata["strides"]))

    @abc.abstractmethod
    def compute(self, images: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
        """What the file gives for images.

        Args:
            images: as `form.as_taken` has them.
            names: some of `level_names`, `stages.DECODED` and, where NMS is inside,
                `stages.DETECTED`.

        Returns:
            Arrays by name.
        """

    def find(self, canvases: UInt8[np.ndarray, "B H W 3"], nms: NmsConfig) -> Found:
        """The detections in letterboxed images.

        Args:
            canvases: RGB, of the file's size.
            nms: what is a detection, where the file leaves that open.
        """
        images = self.form.as_taken(canvases)
        if self.form.nms is not None:
            return Found(**self.compute(images, stages.DETECTED))
        return _suppress(**self.compute(images, stages.DECODED), nms=nms)


@functools.partial(jax.jit, static_argnames="nms")
def _suppress(boxes, scores, nms: NmsConfig) -> Found:
    return stages.suppress_decoded(boxes, scores, nms)


@contextlib.contextmanager
def needing(libraries: str, extra: str) -> Iterator[None]:
    """Says what to install where an import of its body fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"this format needs {libraries}: pip install yolor-jax[{extra}]"
        ) from error
